// Tokens of a template (text/template/parse/lex.go's language).
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace kasane::cli::tmpl {

enum class TokenType {
  kError,
  kEof,
  kText,
  kLeftDelim,
  kRightDelim,
  kSpace,
  kAssign,
  kDeclare,
  kPipe,
  kLeftParen,
  kRightParen,
  kChar,
  kBool,
  kCharConstant,
  kNumber,
  kString,
  kRawString,
  kVariable,
  kField,
  kIdentifier,
  kDot,
  kBlock,
  kBreak,
  kContinue,
  kDefine,
  kElse,
  kEnd,
  kIf,
  kNil,
  kRange,
  kTemplate,
  kWith,
};

struct Token {
  TokenType type;
  size_t pos = 0;
  int line = 1;
  std::string text;  // kError: the message
  bool keyword() const { return type >= TokenType::kDot; }
  // As it stands in error sentences: `"}}"`, `<end>`, EOF.
  std::string str() const;
};

// All tokens; the last one is kEof or kError. Comments are left out. Linear time.
std::vector<Token> lex(std::string_view text);

}  // namespace kasane::cli::tmpl
