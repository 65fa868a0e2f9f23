#include "dockerfile/ignore_pattern.h"

#include <algorithm>

#include "dockerfile/match.h"
#include "dockerfile/unicode.h"

namespace kasane::dockerfile {
namespace {

bool is_utf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    size_t length = decode_utf8(text, i).length;
    if (length == 1 && static_cast<unsigned char>(text[i]) >= 0x80) return false;
    i += length;
  }
  return true;
}

}  // namespace

void CompiledPattern::add_double_star(std::string_view pattern, size_t& position) {
  bool leading = position == 0;
  position += 2;
  bool slash = position < pattern.size() && pattern[position] == '/';
  if (slash) ++position;
  // `**name` with no other wildcard: patternmatcher compares the end of the whole path, not
  // of a component.
  bool plain_suffix =
      leading && !slash && pattern.find_first_of("*?[\\", 2) == std::string_view::npos;
  if (position >= pattern.size() || plain_suffix) {
    tokens_.push_back({Kind::kEverything, {}});
  } else {
    tokens_.push_back({Kind::kOptional, {}});
    tokens_.push_back({Kind::kDirectories, {}});
  }
}

// REQUIRES: check_pattern(pattern) and position < size.
void CompiledPattern::add_token(std::string_view pattern, size_t& position) {
  char c = pattern[position];
  if (pattern.substr(position).starts_with("**")) {
    add_double_star(pattern, position);
  } else if (c == '*' || c == '?') {
    ++position;
    tokens_.push_back({c == '*' ? Kind::kStar : Kind::kAny, {}});
  } else if (c == '[') {
    size_t end = position + 1;  // `]` cannot be the first character of a class
    while (pattern[end] != ']') end += pattern[end] == '\\' ? 2 : 1;
    ++end;
    tokens_.push_back({Kind::kClass, std::string(pattern.substr(position, end - position))});
    position = end;
  } else {
    if (c == '\\') ++position;
    size_t length = decode_utf8(pattern, position).length;
    tokens_.push_back({Kind::kLiteral, std::string(pattern.substr(position, length))});
    position += length;
  }
}

Result<CompiledPattern> CompiledPattern::compile(std::string_view pattern) {
  TRY(check_pattern(pattern));
  CompiledPattern out;
  for (size_t position = 0; position < pattern.size();) out.add_token(pattern, position);
  const std::vector<Token>& tokens = out.tokens_;
  auto is_literal = [](const Token& token) { return token.kind == Kind::kLiteral; };
  auto first_wild = std::find_if_not(tokens.begin(), tokens.end(), is_literal);
  for (auto it = tokens.begin(); it != first_wild; ++it) out.literal_prefix_ += it->text;
  out.is_literal_ = first_wild == tokens.end();
  // Docker makes a regular expression of a pattern with wildcards, and Go has none for other
  // bytes. Matching them would need to know where a character of the path begins.
  if (!out.is_literal_ && !is_utf8(pattern))
    return Error(ErrorKind::kInvalid, "pattern with wildcards is not valid UTF-8");
  auto behind_wild = std::find_if_not(tokens.rbegin(), tokens.rend(), is_literal).base();
  for (auto it = behind_wild; it != tokens.end(); ++it) out.literal_suffix_ += it->text;
  return out;
}

void CompiledPattern::skip_empty(States& states) const {
  for (size_t i = 0; i < tokens_.size(); ++i) {
    if (!states[i]) continue;
    Kind kind = tokens_[i].kind;
    if (kind == Kind::kStar || kind == Kind::kEverything) states[i + 1] = true;
    if (kind == Kind::kOptional) states[i + 1] = states[i + 2] = true;
  }
}

CompiledPattern::States CompiledPattern::advance(const States& states,
                                                 std::string_view character) const {
  bool slash = character == "/";
  States next(states.size(), false);
  for (size_t i = 0; i < tokens_.size(); ++i) {
    if (!states[i]) continue;
    switch (tokens_[i].kind) {
      case Kind::kLiteral:
        if (tokens_[i].text == character) next[i + 1] = true;
        break;
      case Kind::kAny:
        if (!slash) next[i + 1] = true;
        break;
      case Kind::kClass: {
        auto inside = match_path(tokens_[i].text, character);
        if (inside && *inside) next[i + 1] = true;
        break;
      }
      case Kind::kStar:
        if (!slash) next[i] = true;
        break;
      case Kind::kEverything:
        next[i] = true;
        break;
      case Kind::kDirectories:
        next[i] = true;
        if (slash) next[i + 1] = true;
        break;
      case Kind::kOptional:
        break;
    }
  }
  skip_empty(next);
  return next;
}

CompiledPattern::States CompiledPattern::run(std::string_view path) const {
  States states(tokens_.size() + 1, false);
  states[0] = true;
  skip_empty(states);
  for (size_t i = 0; i < path.size();) {
    size_t length = decode_utf8(path, i).length;
    states = advance(states, path.substr(i, length));
    if (std::find(states.begin(), states.end(), true) == states.end()) return {};
    i += length;
  }
  return states;
}

bool CompiledPattern::matches(std::string_view path) const {
  if (is_literal_) return path == literal_prefix_;
  if (!path.starts_with(literal_prefix_) || !path.ends_with(literal_suffix_)) return false;
  States states = run(path);
  return !states.empty() && states.back();
}

bool CompiledPattern::may_match_below(std::string_view dir) const {
  size_t common = std::min(dir.size(), literal_prefix_.size());
  if (dir.substr(0, common) != std::string_view(literal_prefix_).substr(0, common)) return false;
  States states = run(std::string(dir) + "/");
  // The last state alone would mean that the pattern ends here.
  return !states.empty() && std::find(states.begin(), states.end() - 1, true) != states.end() - 1;
}

}  // namespace kasane::dockerfile
