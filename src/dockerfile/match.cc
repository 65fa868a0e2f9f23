#include "dockerfile/match.h"

#include <optional>

#include "dockerfile/unicode.h"

namespace kasane::dockerfile {
namespace {

// One matching unit of a pattern: what stands between stars.
struct Element {
  enum class Kind { kLiteral, kAny, kClass } kind = Kind::kLiteral;
  std::string_view text;  // kLiteral: the character; kClass: what stands between the brackets
};

// Reads one character of a class, escapes resolved; nullopt for a malformed one.
std::optional<std::string_view> class_character(std::string_view text, size_t& position) {
  if (position >= text.size() || text[position] == '-' || text[position] == ']')
    return std::nullopt;
  if (text[position] == '\\' && ++position >= text.size()) return std::nullopt;
  size_t length = decode_utf8(text, position).length;
  position += length;
  return text.substr(position - length, length);
}

// `position` stands behind `[`; afterwards behind `]`. nullopt: malformed.
std::optional<Element> read_class(std::string_view pattern, size_t& position) {
  size_t begin = position;
  if (position < pattern.size() && pattern[position] == '^') ++position;
  bool first = true;
  while (first || position >= pattern.size() || pattern[position] != ']') {
    if (!class_character(pattern, position)) return std::nullopt;
    if (position < pattern.size() && pattern[position] == '-') {
      ++position;
      if (!class_character(pattern, position)) return std::nullopt;
    }
    if (position >= pattern.size()) return std::nullopt;
    first = false;
  }
  Element out{Element::Kind::kClass, pattern.substr(begin, position - begin)};
  ++position;
  return out;
}

// Next element that is no star; nullopt: syntax error. REQUIRES: position < size.
std::optional<Element> read_element(std::string_view pattern, size_t& position) {
  char c = pattern[position];
  if (c == '?') {
    ++position;
    return Element{Element::Kind::kAny, {}};
  }
  if (c == '[') return read_class(pattern, ++position);
  if (c == '\\' && ++position >= pattern.size()) return std::nullopt;
  size_t length = decode_utf8(pattern, position).length;
  position += length;
  return Element{Element::Kind::kLiteral, pattern.substr(position - length, length)};
}

bool class_matches(std::string_view body, CodePoint c) {
  bool negated = body.starts_with('^');
  bool inside = false;
  size_t position = negated ? 1 : 0;
  while (position < body.size()) {
    std::string_view low = *class_character(body, position);
    std::string_view high = low;
    if (position < body.size() && body[position] == '-') high = *class_character(body, ++position);
    if (decode_utf8(low, 0).value <= c.value && c.value <= decode_utf8(high, 0).value)
      inside = true;
  }
  return inside != negated;
}

// Length of the character of `name` at `at` that the element takes; 0 when it does not fit.
size_t take(const Element& element, std::string_view name, size_t at) {
  if (at >= name.size()) return 0;
  CodePoint c = decode_utf8(name, at);
  switch (element.kind) {
    case Element::Kind::kAny:
      return name[at] == '/' ? 0 : c.length;
    case Element::Kind::kClass:
      return class_matches(element.text, c) ? c.length : 0;
    case Element::Kind::kLiteral:
      return name.substr(at, element.text.size()) == element.text ? element.text.size() : 0;
  }
  return 0;
}

// REQUIRES: the pattern is well-formed. Only the last star needs to be tried again: an
// earlier one can do nothing that the later could not.
bool matches(std::string_view pattern, std::string_view name) {
  size_t p = 0;
  size_t n = 0;
  std::optional<size_t> star;  // pattern position behind the last star
  size_t star_name = 0;        // where the text behind that star was tried last
  while (p < pattern.size() || n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = ++p;
      star_name = n;
      continue;
    }
    if (p < pattern.size()) {
      Element element = *read_element(pattern, p);
      if (size_t length = take(element, name, n)) {
        n += length;
        continue;
      }
    }
    if (!star || star_name >= name.size() || name[star_name] == '/') return false;
    star_name += decode_utf8(name, star_name).length;
    n = star_name;
    p = *star;
  }
  return true;
}

bool well_formed(std::string_view pattern) {
  for (size_t i = 0; i < pattern.size();) {
    if (pattern[i] == '*') {
      ++i;
    } else if (!read_element(pattern, i)) {
      return false;
    }
  }
  return true;
}

}  // namespace

Result<> check_pattern(std::string_view pattern) {
  if (well_formed(pattern)) return {};
  return Error(ErrorKind::kInvalid, "syntax error in pattern").context("pattern " + quote(pattern));
}

Result<bool> match_path(std::string_view pattern, std::string_view name) {
  TRY(check_pattern(pattern));
  return matches(pattern, name);
}

bool has_wildcards(std::string_view pattern) {
  for (size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] == '\\')
      ++i;
    else if (pattern[i] == '*' || pattern[i] == '?' || pattern[i] == '[')
      return true;
  }
  return false;
}

std::string unescape_pattern(std::string_view pattern) {
  std::string out;
  for (size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] == '\\' && i + 1 < pattern.size()) ++i;
    out += pattern[i];
  }
  return out;
}

std::string escape_pattern(std::string_view path) {
  std::string pattern;
  for (char c : path) {
    if (std::string_view("*?[]\\").find(c) != std::string_view::npos) pattern += '\\';
    pattern += c;
  }
  return pattern;
}

}  // namespace kasane::dockerfile
