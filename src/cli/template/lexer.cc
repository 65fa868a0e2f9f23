#include "cli/template/lexer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "cli/template/gofmt.h"
#include "cli/template/utf8.h"

namespace kasane::cli::tmpl {
namespace {

constexpr std::string_view kLeft = "{{";
constexpr std::string_view kRight = "}}";
constexpr std::string_view kSpaces = " \t\r\n";
constexpr uint32_t kEofRune = UINT32_MAX;

constexpr std::array<std::pair<std::string_view, TokenType>, 12> kKeywords{{
    {"block", TokenType::kBlock},
    {"break", TokenType::kBreak},
    {"continue", TokenType::kContinue},
    {"define", TokenType::kDefine},
    {"else", TokenType::kElse},
    {"end", TokenType::kEnd},
    {"if", TokenType::kIf},
    {"nil", TokenType::kNil},
    {"range", TokenType::kRange},
    {"template", TokenType::kTemplate},
    {"with", TokenType::kWith},
    {".", TokenType::kDot},
}};

bool is_space(uint32_t r) { return r == ' ' || r == '\t' || r == '\r' || r == '\n'; }

// %#U: U+0040 '@'
std::string show_rune(uint32_t rune) {
  if (rune == kEofRune) return "U+FFFFFFFFFFFFFFFF";
  std::string text = fmt::format("U+{:04X}", rune);
  if (!is_printable(rune)) return text;
  text += " '";
  append_rune(text, rune);
  return text + "'";
}

class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  std::vector<Token> run() {
    while (!done_) lex_text();
    return std::move(tokens_);
  }

 private:
  std::string_view rest() const { return text_.substr(pos_); }
  uint32_t peek() const { return pos_ < text_.size() ? decode_rune(rest()).value : kEofRune; }
  uint32_t next() {
    if (pos_ >= text_.size()) return kEofRune;
    Rune rune = decode_rune(rest());
    pos_ += rune.width;
    return rune.value;
  }

  void emit(TokenType type) {
    std::string_view text = text_.substr(start_, pos_ - start_);
    tokens_.push_back({type, start_, line_, std::string(text)});
    ignore();
  }

  void ignore() {
    std::string_view text = text_.substr(start_, pos_ - start_);
    line_ += static_cast<int>(std::count(text.begin(), text.end(), '\n'));
    start_ = pos_;
  }

  void error(std::string message) {
    tokens_.push_back({TokenType::kError, start_, line_, std::move(message)});
    done_ = true;
  }

  static bool left_trim(std::string_view after) {
    return after.size() >= 2 && after[0] == '-' && is_space(static_cast<unsigned char>(after[1]));
  }

  // "}}" or " -}}" stands here.
  bool at_right_delim(bool& trim) const {
    std::string_view here = rest();
    trim = here.size() >= 4 && is_space(static_cast<unsigned char>(here[0])) && here[1] == '-' &&
           here.substr(2, 2) == kRight;
    return trim || here.starts_with(kRight);
  }

  void lex_text() {
    size_t open = text_.find(kLeft, pos_);
    if (open == std::string_view::npos) {
      pos_ = text_.size();
      if (pos_ > start_) emit(TokenType::kText);
      emit(TokenType::kEof);
      done_ = true;
      return;
    }
    size_t end = open;
    if (left_trim(text_.substr(open + kLeft.size()))) {
      while (end > start_ && kSpaces.find(text_[end - 1]) != std::string_view::npos) --end;
    }
    pos_ = end;
    if (pos_ > start_) emit(TokenType::kText);
    pos_ = open;
    ignore();
    left_delim();
  }

  void left_delim() {
    pos_ += kLeft.size();
    const size_t marker = left_trim(rest()) ? 2 : 0;
    if (rest().substr(marker).starts_with("/*")) {
      pos_ += marker;
      ignore();
      comment();
      return;
    }
    emit(TokenType::kLeftDelim);
    pos_ += marker;
    ignore();
    paren_depth_ = 0;
    while (!done_ && inside_action()) {
    }
  }

  void comment() {
    size_t close = text_.find("*/", pos_ + 2);
    if (close == std::string_view::npos) return error("unclosed comment");
    pos_ = close + 2;
    bool trim;
    if (!at_right_delim(trim)) return error("comment ends before closing delimiter");
    skip_right_delim(trim);
    ignore();
  }

  void skip_right_delim(bool trim) {
    if (trim) pos_ += 2;
    pos_ += kRight.size();
    if (!trim) return;
    size_t begin = text_.find_first_not_of(kSpaces, pos_);
    pos_ = begin == std::string_view::npos ? text_.size() : begin;
  }

  // One token; false after the right delimiter.
  bool inside_action() {
    bool trim;
    if (at_right_delim(trim)) {
      if (paren_depth_ > 0) {
        error("unclosed left paren");
        return true;
      }
      if (trim) {
        pos_ += 2;
        ignore();
      }
      pos_ += kRight.size();
      emit(TokenType::kRightDelim);
      if (trim) {
        size_t begin = text_.find_first_not_of(kSpaces, pos_);
        pos_ = begin == std::string_view::npos ? text_.size() : begin;
        ignore();
      }
      return false;
    }
    token(next());
    return true;
  }

  void token(uint32_t r) {
    if (r == kEofRune) return error("unclosed action");
    if (is_space(r)) return space();
    switch (r) {
      case '=':
        return emit(TokenType::kAssign);
      case ':':
        if (next() != '=') return error("expected :=");
        return emit(TokenType::kDeclare);
      case '|':
        return emit(TokenType::kPipe);
      case '"':
        return quoted('"', TokenType::kString, "unterminated quoted string");
      case '`':
        return raw_string();
      case '$':
        return name(TokenType::kVariable);
      case '\'':
        return quoted('\'', TokenType::kCharConstant, "unterminated character constant");
      case '(':
        ++paren_depth_;
        return emit(TokenType::kLeftParen);
      case ')':
        if (--paren_depth_ < 0) return error("unexpected right paren");
        return emit(TokenType::kRightParen);
      default:
        break;
    }
    if (r == '.' && (pos_ == text_.size() || text_[pos_] < '0' || text_[pos_] > '9'))
      return name(TokenType::kField);
    if (r == '.' || r == '+' || r == '-' || (r >= '0' && r <= '9')) {
      --pos_;
      return number();
    }
    if (is_letter_or_digit(r)) return identifier();
    if (r <= 0x7f && is_printable(r)) return emit(TokenType::kChar);
    error("unrecognized character in action: " + show_rune(r));
  }

  void space() {
    size_t count = 1;
    while (is_space(peek())) {
      next();
      ++count;
    }
    // A trim marked closing delimiter has its minus after a space: leave that space to it.
    if (text_.substr(pos_).starts_with("-}}")) {
      --pos_;
      if (count == 1) return;
    }
    emit(TokenType::kSpace);
  }

  bool at_terminator() const {
    uint32_t r = peek();
    return r == kEofRune || is_space(r) || r == '.' || r == ',' || r == '|' || r == ':' ||
           r == ')' || r == '(' || rest().starts_with(kRight);
  }

  void name(TokenType type) {
    if (at_terminator()) return emit(type == TokenType::kVariable ? type : TokenType::kDot);
    while (pos_ < text_.size() && is_letter_or_digit(peek())) next();
    if (!at_terminator()) return error("bad character " + show_rune(peek()));
    emit(type);
  }

  void identifier() {
    while (pos_ < text_.size() && is_letter_or_digit(peek())) next();
    if (!at_terminator()) return error("bad character " + show_rune(peek()));
    std::string_view word = text_.substr(start_, pos_ - start_);
    if (word == "true" || word == "false") return emit(TokenType::kBool);
    for (const auto& [keyword, type] : kKeywords)
      if (word == keyword) return emit(type);
    emit(TokenType::kIdentifier);
  }

  void quoted(uint32_t end, TokenType type, const char* message) {
    while (true) {
      uint32_t r = next();
      if (r == '\\') {
        r = next();
        if (r != kEofRune && r != '\n') continue;
      }
      if (r == kEofRune || r == '\n') return error(message);
      if (r == end) return emit(type);
    }
  }

  void raw_string() {
    size_t close = text_.find('`', pos_);
    if (close == std::string_view::npos) {
      pos_ = text_.size();
      return error("unterminated raw quoted string");
    }
    pos_ = close + 1;
    emit(TokenType::kRawString);
  }

  bool accept(std::string_view set) {
    if (pos_ < text_.size() && set.find(text_[pos_]) != std::string_view::npos) {
      ++pos_;
      return true;
    }
    return false;
  }
  void accept_run(std::string_view set) {
    while (accept(set)) {
    }
  }

  void number() {
    accept("+-");
    std::string_view digits = "0123456789_";
    bool decimal = true;
    if (accept("0")) {
      if (accept("xX")) {
        digits = "0123456789abcdefABCDEF_";
        decimal = false;
      } else if (accept("oO")) {
        digits = "01234567_";
      } else if (accept("bB")) {
        digits = "01_";
      }
    }
    accept_run(digits);
    if (accept(".")) accept_run(digits);
    if (accept(decimal ? "eE" : "pP")) {
      accept("+-");
      accept_run("0123456789_");
    }
    accept("i");
    if (pos_ < text_.size() && is_letter_or_digit(peek())) {
      next();
      return bad_number();
    }
    // A sign right behind starts the imaginary part of a complex number, which is refused.
    if (accept("+-")) {
      accept_run("0123456789_.eEi");
      return bad_number();
    }
    emit(TokenType::kNumber);
  }

  void bad_number() {
    error("bad number syntax: " + go_quote(text_.substr(start_, pos_ - start_)));
  }

  std::string_view text_;
  size_t start_ = 0;
  size_t pos_ = 0;
  int line_ = 1;
  int paren_depth_ = 0;
  bool done_ = false;
  std::vector<Token> tokens_;
};

}  // namespace

std::string Token::str() const {
  if (type == TokenType::kEof) return "EOF";
  if (type == TokenType::kError) return text;
  if (keyword()) return "<" + text + ">";
  if (text.size() <= 10) return go_quote(text);
  std::string_view head = text;
  for (int i = 0; i < 10 && !head.empty(); ++i) head.remove_prefix(decode_rune(head).width);
  return go_quote(std::string_view(text).substr(0, text.size() - head.size())) + "...";
}

std::vector<Token> lex(std::string_view text) { return Lexer(text).run(); }

}  // namespace kasane::cli::tmpl
