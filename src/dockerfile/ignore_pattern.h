// One compiled pattern of an ignore file (G03-G06). Internal to ignore.cc.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace kasane::dockerfile {

// Immutable. Matching costs pattern x path at worst: all ways to match are followed side by
// side, nothing is tried twice.
class CompiledPattern {
 public:
  // `pattern` is cleaned and without `!`. kInvalid "syntax error in pattern".
  static Result<CompiledPattern> compile(std::string_view pattern);

  bool matches(std::string_view path) const;
  // Could some path below the directory match?
  bool may_match_below(std::string_view dir) const;

 private:
  enum class Kind : uint8_t {
    kLiteral,     // one character
    kAny,         // `?`: one character but '/'
    kClass,       // `[..]`: one character
    kStar,        // `*`: any run without '/'
    kEverything,  // `**` at the end: any run
    // `**/` elsewhere is `(.*/)?`, written as two tokens:
    kOptional,     // the next token may be left out
    kDirectories,  // any run that ends in '/'
  };
  struct Token {
    Kind kind;
    std::string text;
  };
  // states[i]: everything read so far is matched by the tokens before i.
  using States = std::vector<bool>;

  void add_token(std::string_view pattern, size_t& position);
  void add_double_star(std::string_view pattern, size_t& position);
  void skip_empty(States& states) const;
  States advance(const States& states, std::string_view character) const;
  // States after all of `path`; empty when nothing is left to match.
  States run(std::string_view path) const;

  std::vector<Token> tokens_;
  std::string literal_prefix_;  // what every match begins with
  std::string literal_suffix_;  // and ends with: most paths are told apart by these two
  bool is_literal_ = false;     // no wildcards: the prefix is the whole pattern
};

}  // namespace kasane::dockerfile
