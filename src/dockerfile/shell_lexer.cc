#include "dockerfile/shell_lexer.h"

#include <optional>

#include "dockerfile/substitution.h"
#include "dockerfile/unicode.h"

namespace kasane::dockerfile {
namespace {

constexpr int kMaxNesting = 100;  // of ${..${..}..}; real files stay below 5
constexpr char kNoStop = '\0';
constexpr uint32_t kEnd = 0xfffffffe;  // behind the last character

Error syntax_error(std::string message) { return Error(ErrorKind::kInvalid, std::move(message)); }

// Collects words while the text is made: blanks end a word only where they are bare.
class WordSplitter {
 public:
  explicit WordSplitter(std::vector<LexWord>* out) : out_(out) {}

  void bare(std::string_view text, size_t begin, size_t end) {
    if (!out_) return;
    for (size_t i = 0; i < text.size();) {
      CodePoint c = decode_utf8(text, i);
      if (is_space(c.value)) {
        flush();
      } else {
        literal(text.substr(i, c.length), begin, end);
      }
      i += c.length;
    }
  }

  void literal(std::string_view text, size_t begin, size_t end) {
    if (!out_) return;
    if (word_.text.empty()) word_.begin = begin;
    word_.text += text;
    word_.end = end;
  }

  void flush() {
    if (!out_ || word_.text.empty()) return;
    out_->push_back(std::move(word_));
    word_ = {};
  }

 private:
  std::vector<LexWord>* out_;
  LexWord word_;
};

class Lexer {
 public:
  Lexer(std::string_view input, const Environment& env, const LexOptions& options)
      : input_(input), env_(env), options_(options), raw_escapes_(options.raw_escapes) {}

  Result<LexResult> run() {
    WordSplitter words(options_.split ? &result_.words : nullptr);
    result_.text = TRY(read_until(kNoStop, options_.raw_escapes, words));
    words.flush();
    return std::move(result_);
  }

 private:
  bool at_end() const { return position_ >= input_.size(); }
  char peek() const { return at_end() ? '\0' : input_[position_]; }
  uint32_t peek_code_point() const {
    return at_end() ? kEnd : decode_utf8(input_, position_).value;
  }

  std::string_view next() {  // one whole character; empty at the end
    if (at_end()) return {};
    size_t length = decode_utf8(input_, position_).length;
    position_ += length;
    return input_.substr(position_ - length, length);
  }

  Result<> append(std::string& out, std::string_view text) {
    if (out.size() + text.size() > kMaxExpandedBytes)
      return Error(ErrorKind::kLimit, "variable expansion grows beyond " +
                                          std::to_string(kMaxExpandedBytes >> 20) + " MiB");
    out += text;
    return {};
  }

  Result<std::string> read_until(char stop, bool raw_escapes, WordSplitter& words);
  Result<std::string> read_special(char c);
  Result<std::string> read_single_quoted();
  Result<std::string> read_double_quoted();
  Result<std::string> read_dollar();
  Result<std::string> read_braced();
  Result<std::string> read_modifier(const std::string& name, std::string modifier);
  Result<std::string> apply_trim(const std::string& word, const std::string& value, char side);
  Result<std::string> read_replacement(const std::string& name);
  Result<std::string> operand(char stop, bool raw_escapes, const char* missing);
  std::string read_heredoc_mark();
  std::string read_name();
  std::optional<std::string> get(const std::string& name, bool has_default);

  std::string_view input_;
  const Environment& env_;
  LexOptions options_;
  bool raw_escapes_;
  size_t position_ = 0;
  int depth_ = 0;
  LexResult result_;
};

Result<std::string> Lexer::read_until(char stop, bool raw_escapes, WordSplitter& words) {
  std::string out;
  bool outer_raw = std::exchange(raw_escapes_, raw_escapes);
  while (!at_end()) {
    size_t begin = position_;
    char c = peek();
    if (stop != kNoStop && c == stop) {
      ++position_;
      raw_escapes_ = outer_raw;
      return out;
    }
    bool quoted = !options_.ordinary_quotes && (c == '\'' || c == '"');
    if (c == '$' || c == '<' || quoted) {
      std::string text = TRY(read_special(c));
      TRY(append(out, text));
      if (c == '$') {
        words.bare(text, begin, position_);
      } else {
        words.literal(text, begin, position_);
      }
      continue;
    }
    std::string_view text = next();
    if (text.size() == 1 && text[0] == options_.escape) {
      if (raw_escapes_) {
        TRY(append(out, text));
        words.literal(text, begin, position_);
      }
      text = next();
      if (text.empty()) break;
      words.literal(text, begin, position_);
    } else {
      words.bare(text, begin, position_);
    }
    TRY(append(out, text));
  }
  raw_escapes_ = outer_raw;
  if (stop != kNoStop)
    return syntax_error(std::string("unexpected end of statement while looking for matching ") +
                        stop);
  return out;
}

Result<std::string> Lexer::read_special(char c) {
  switch (c) {
    case '$':
      return read_dollar();
    case '\'':
      return read_single_quoted();
    case '"':
      return read_double_quoted();
    default:
      return read_heredoc_mark();
  }
}

// Blanks behind `<<` and `<<-` belong to the same word: `<< EOF` is one marker (H02).
// BuildKit joins them only behind `<<`, although its own test lists `<<- EOF` too.
std::string Lexer::read_heredoc_mark() {
  ++position_;
  if (at_end() || peek() != '<') return "<";
  size_t begin = position_ - 1;
  ++position_;
  bool chomp = peek() == '-' && position_ + 1 < input_.size() &&
               is_space(decode_utf8(input_, position_ + 1).value);
  if (chomp) ++position_;
  while (!at_end() && is_space(peek_code_point())) next();
  return std::string(input_.substr(begin, position_ - begin));
}

Result<std::string> Lexer::read_single_quoted() {
  size_t close = input_.find('\'', position_ + 1);
  if (close == std::string_view::npos) {
    position_ = input_.size();
    return syntax_error("unexpected end of statement while looking for matching single-quote");
  }
  size_t begin = options_.raw_quotes ? position_ : position_ + 1;
  size_t end = options_.raw_quotes ? close + 1 : close;
  position_ = close + 1;
  return std::string(input_.substr(begin, end - begin));
}

Result<std::string> Lexer::read_double_quoted() {
  std::string out;
  if (options_.raw_quotes) out += '"';
  ++position_;
  while (!at_end()) {
    char c = peek();
    if (c == '"') {
      ++position_;
      if (options_.raw_quotes) out += '"';
      return out;
    }
    if (c == '$') {
      std::string value = TRY(read_dollar());
      TRY(append(out, value));
      continue;
    }
    std::string_view text = next();
    if (c == options_.escape) {
      if (raw_escapes_) TRY(append(out, text));
      if (at_end()) continue;  // a dangling escape vanishes
      char escaped = peek();
      if (escaped == '"' || escaped == '$' || escaped == options_.escape) text = next();
    }
    TRY(append(out, text));
  }
  return syntax_error("unexpected end of statement while looking for matching double-quote");
}

std::string Lexer::read_name() {
  size_t begin = position_;
  uint32_t c = peek_code_point();
  if (c == kEnd) return {};
  if (is_digit(c)) {
    while (!at_end() && is_digit(peek_code_point())) next();
  } else if (c < 0x80 &&
             std::string_view("@*#?-$!").find(static_cast<char>(c)) != std::string_view::npos) {
    ++position_;
  } else {
    while (!at_end()) {
      c = peek_code_point();
      if (!is_letter(c) && !is_digit(c) && c != '_') break;
      next();
    }
  }
  return std::string(input_.substr(begin, position_ - begin));
}

std::optional<std::string> Lexer::get(const std::string& name, bool has_default) {
  std::optional<std::string> value = env_.get(name);
  if (value) {
    result_.matched.insert(name);
  } else {
    result_.unmatched.insert(name);
    if (has_default) result_.defaulted.insert(name);
  }
  return value;
}

Result<std::string> Lexer::read_dollar() {
  ++position_;
  if (peek() == '{' && !at_end()) {
    if (++depth_ > kMaxNesting)
      return Error(ErrorKind::kLimit,
                   "variables are nested more than " + std::to_string(kMaxNesting) + " deep");
    ++position_;
    auto result = read_braced();
    --depth_;
    return result;
  }
  std::string name = read_name();
  if (name.empty()) return std::string("$");
  std::optional<std::string> value = get(name, false);
  if (!value && options_.keep_unset) return "$" + name;
  return value.value_or("");
}

Result<std::string> Lexer::read_braced() {
  if (at_end()) return syntax_error("syntax error: missing '}'");
  if (peek() == '{' || peek() == '}' || peek() == ':')
    return syntax_error("syntax error: bad substitution");
  std::string name = read_name();
  std::string modifier(next());
  if (modifier == "}") {
    std::optional<std::string> value = get(name, false);
    if (!value && options_.keep_unset) return "${" + name + "}";
    return value.value_or("");
  }
  if (modifier == ":") modifier += next();
  if (modifier == "/") return read_replacement(name);
  char last = modifier.empty() ? '\0' : modifier.back();
  bool known = modifier.size() <= 2 && std::string_view("+-?#%").find(last) != std::string::npos;
  bool colon_trim = modifier.size() == 2 && (last == '#' || last == '%');
  if (known && !colon_trim && last != '\0') return read_modifier(name, modifier);
  // An unfinished ${name is reported as such, not as an odd modifier.
  if (modifier.empty() || input_.find('}', position_) == std::string_view::npos)
    return syntax_error("syntax error: missing '}'");
  return syntax_error("unsupported modifier (" + modifier + ") in substitution");
}

Result<std::string> Lexer::operand(char stop, bool raw_escapes, const char* missing) {
  WordSplitter no_words(nullptr);
  auto word = read_until(stop, raw_escapes, no_words);
  if (!word && at_end() && word.error().kind() != ErrorKind::kLimit)
    return syntax_error(std::string("syntax error: missing ") + missing);
  return word;
}

Result<std::string> Lexer::read_modifier(const std::string& name, std::string modifier) {
  bool null_is_unset = modifier.size() == 2;
  char operation = modifier.back();
  bool trims = operation == '#' || operation == '%';
  std::string word = TRY(operand('}', trims, "'}'"));
  std::optional<std::string> value = get(name, !trims);
  if (!value && options_.keep_unset) return "${" + name + modifier + word + "}";
  bool present = value && !(null_is_unset && value->empty());
  switch (operation) {
    case '-':
      return present ? *value : word;
    case '+':
      return present ? word : std::string();
    case '?':
      if (present) return *value;
      if (word.empty()) word = value ? "is not allowed to be empty" : "is not allowed to be unset";
      return syntax_error(name + ": " + word);
    default:
      return apply_trim(word, value.value_or(""), operation);
  }
}

Result<std::string> Lexer::apply_trim(const std::string& word, const std::string& value,
                                      char side) {
  bool longest = !word.empty() && word[0] == side;
  std::string_view text = std::string_view(word).substr(longest ? 1 : 0);
  auto pattern = SubstitutionPattern::parse(text);
  if (!pattern)
    return syntax_error("invalid pattern (" + std::string(text) +
                        ") in substitution: " + pattern.error().message());
  return side == '#' ? pattern->strip_prefix(value, longest)
                     : pattern->strip_suffix(value, longest);
}

Result<std::string> Lexer::read_replacement(const std::string& name) {
  bool all = peek() == '/';
  if (all) ++position_;
  std::string text = TRY(operand('/', true, "'/' in ${}"));
  std::string replacement = TRY(operand('}', true, "'}'"));
  std::optional<std::string> value = get(name, false);
  if (!value && options_.keep_unset)
    return "${" + name + (all ? "//" : "/") + text + "/" + replacement + "}";
  auto pattern = SubstitutionPattern::parse(text);
  if (!pattern)
    return syntax_error("invalid pattern (" + text +
                        ") in substitution: " + pattern.error().message());
  return pattern->replace(value.value_or(""), replacement, all);
}

}  // namespace

Result<LexResult> lex(std::string_view input, const Environment& env, const LexOptions& options) {
  auto result = Lexer(input, env, options).run();
  if (!result) {
    constexpr size_t kShown = 200;  // a whole heredoc body would bury the message
    std::string shown = quote(input.substr(0, kShown));
    if (input.size() > kShown) shown += "...";
    return std::move(result.error()).context("failed to process " + shown);
  }
  return result;
}

}  // namespace kasane::dockerfile
