// The shell-like lexer behind expand.h and heredoc recognition: quotes, escapes, `$`,
// and word splitting in one pass. Internal to this folder.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "dockerfile/expand.h"

namespace kasane::dockerfile {

struct LexOptions {
  char escape = '\\';
  bool raw_quotes = false;       // keep the quotes in the result
  bool raw_escapes = false;      // keep the escape characters in the result
  bool ordinary_quotes = false;  // quotes mean nothing (heredoc bodies, H07)
  bool keep_unset = false;       // `$X` of an unset variable stays `$X`
  bool split = false;            // fill LexResult::words
};

struct LexWord {
  std::string text;
  size_t begin = 0;  // where the word stands in the input
  size_t end = 0;
};

struct LexResult {
  std::string text;
  std::vector<LexWord> words;
  std::set<std::string> matched;
  std::set<std::string> unmatched;
  std::set<std::string> defaulted;
};

Result<LexResult> lex(std::string_view input, const Environment& env, const LexOptions& options);

}  // namespace kasane::dockerfile
