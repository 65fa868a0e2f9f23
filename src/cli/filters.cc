#include "cli/filters.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/flags.h"
#include "cli/template/utf8.h"
#include "oci/reference.h"

namespace kasane::cli {
namespace {

Error bad_pattern() { return Error(ErrorKind::kInvalid, "syntax error in pattern"); }

std::string_view trim(std::string_view text) {
  size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

// One rune of a class, backslash removed.
Result<uint32_t> class_rune(std::string_view& pattern) {
  if (pattern.empty() || pattern[0] == '-' || pattern[0] == ']') return bad_pattern();
  if (pattern[0] == '\\') pattern.remove_prefix(1);
  if (pattern.empty()) return bad_pattern();
  tmpl::Rune rune = tmpl::decode_rune(pattern);
  pattern.remove_prefix(rune.width);
  if (pattern.empty()) return bad_pattern();
  return rune.value;
}

// "[...]" after its bracket, against `rune`.
Result<bool> class_match(std::string_view& pattern, uint32_t rune) {
  bool negated = !pattern.empty() && pattern[0] == '^';
  if (negated) pattern.remove_prefix(1);
  bool match = false;
  for (int ranges = 0;; ++ranges) {
    if (!pattern.empty() && pattern[0] == ']' && ranges > 0) break;
    uint32_t low = TRY(class_rune(pattern));
    uint32_t high = low;
    if (pattern[0] == '-') {
      pattern.remove_prefix(1);
      high = TRY(class_rune(pattern));
    }
    match = match || (low <= rune && rune <= high);
  }
  pattern.remove_prefix(1);
  return match != negated;
}

// The part of a pattern up to the next '*' against the start of `name`; on a match the
// matched bytes are removed from `name`.
Result<bool> chunk_match(std::string_view chunk, std::string_view& name) {
  std::string_view rest = name;
  bool failed = false;  // the pattern is still checked for syntax
  while (!chunk.empty()) {
    failed = failed || rest.empty();
    const char c = chunk[0];
    chunk.remove_prefix(1);
    if (c == '[') {
      tmpl::Rune rune{0, 0, true};
      if (!failed) rune = tmpl::decode_rune(rest);
      bool match = TRY(class_match(chunk, rune.value));
      if (!failed) rest.remove_prefix(rune.width);
      failed = failed || !match;
    } else if (c == '?') {
      failed = failed || rest[0] == '/';
      if (!failed) rest.remove_prefix(tmpl::decode_rune(rest).width);
    } else {
      char literal = c;
      if (c == '\\') {
        if (chunk.empty()) return bad_pattern();
        literal = chunk[0];
        chunk.remove_prefix(1);
      }
      failed = failed || rest[0] != literal;
      if (!failed) rest.remove_prefix(1);
    }
  }
  if (!failed) name = rest;
  return !failed;
}

size_t chunk_length(std::string_view pattern) {
  bool in_class = false;
  for (size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] == '\\')
      ++i;
    else if (pattern[i] == '[')
      in_class = true;
    else if (pattern[i] == ']')
      in_class = false;
    else if (pattern[i] == '*' && !in_class)
      return i;
  }
  return pattern.size();
}

}  // namespace

Result<Filters> Filters::parse(const std::vector<std::string>& words,
                               std::initializer_list<std::string_view> allowed) {
  Filters filters;
  for (const std::string& word : words) {
    size_t equals = word.find('=');
    std::string key(trim(std::string_view(word).substr(0, equals)));
    std::transform(key.begin(), key.end(), key.begin(), [](char c) { return std::tolower(c); });
    if (std::find(allowed.begin(), allowed.end(), key) == allowed.end())
      return Error(ErrorKind::kInvalid, fmt::format("invalid filter '{}'", key));
    filters.add(std::move(key), std::string(trim(std::string_view(word).substr(equals + 1))));
  }
  return filters;
}

const std::vector<std::string>& Filters::values(std::string_view key) const {
  static const std::vector<std::string> none;
  auto found = values_.find(key);
  return found == values_.end() ? none : found->second;
}

Result<bool> Filters::boolean(std::string_view key, bool absent) const {
  std::optional<bool> result;
  for (const std::string& text : values(key)) {
    std::string lower = text;
    std::transform(lower.begin(), lower.end(), lower.begin(),
                   [](char c) { return std::tolower(c); });
    std::optional<bool> value = parse_bool(lower);
    if (!value || (result && *result != *value))
      return Error(ErrorKind::kInvalid, fmt::format("invalid filter '{}=[{}]'", key, text));
    result = value;
  }
  return result.value_or(absent);
}

Result<bool> path_match(std::string_view pattern, std::string_view name) {
  while (!pattern.empty()) {
    bool star = false;
    while (!pattern.empty() && pattern[0] == '*') {
      star = true;
      pattern.remove_prefix(1);
    }
    std::string_view chunk = pattern.substr(0, chunk_length(pattern));
    pattern.remove_prefix(chunk.size());
    if (star && chunk.empty()) return name.find('/') == std::string_view::npos;
    std::string_view rest = name;
    bool matched = TRY(chunk_match(chunk, rest));
    // A chunk at the end must reach the end; otherwise a star may still swallow more.
    if (matched && (rest.empty() || !pattern.empty())) {
      name = rest;
      continue;
    }
    if (!star) return false;
    bool found = false;
    for (size_t i = 0; i < name.size() && name[i] != '/' && !found; ++i) {
      rest = name.substr(i + 1);
      if (!TRY(chunk_match(chunk, rest))) continue;
      if (pattern.empty() && !rest.empty()) continue;
      name = rest;
      found = true;
    }
    if (!found) return false;
  }
  return name.empty();
}

bool labels_match(const std::map<std::string, std::string>& labels, const Filters& filters) {
  auto holds = [&](const std::string& wanted) {
    size_t equals = wanted.find('=');
    auto label = labels.find(wanted.substr(0, equals));
    if (label == labels.end()) return false;
    return equals == std::string::npos || label->second == wanted.substr(equals + 1);
  };
  const auto& wanted = filters.values("label");
  const auto& refused = filters.values("label!");
  return std::all_of(wanted.begin(), wanted.end(), holds) &&
         std::none_of(refused.begin(), refused.end(), holds);
}

Result<bool> reference_matches(std::string_view pattern, std::string_view canonical) {
  const std::string familiar = oci::familiar(canonical);
  if (TRY(path_match(pattern, familiar))) return true;
  size_t name_end = familiar.find('@');
  size_t colon = familiar.rfind(':', name_end);
  size_t slash = familiar.rfind('/', name_end);
  if (colon != std::string::npos && (slash == std::string::npos || colon > slash) &&
      colon < name_end)
    name_end = colon;
  return path_match(pattern, std::string_view(familiar).substr(0, name_end));
}

}  // namespace kasane::cli
