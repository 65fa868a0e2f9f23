#include "dockerfile/heredoc.h"

#include <algorithm>

#include "dockerfile/shell_lexer.h"
#include "dockerfile/unicode.h"

namespace kasane::dockerfile {
namespace {

struct MarkParts {
  std::string_view digits;
  bool chomp = false;
  std::string_view delimiter;  // raw, with quotes
};

// digits, `<<`, optional `-`, blanks, then anything without `<`.
std::optional<MarkParts> split_mark(std::string_view word) {
  MarkParts parts;
  size_t i = 0;
  while (i < word.size() && word[i] >= '0' && word[i] <= '9') ++i;
  parts.digits = word.substr(0, i);
  if (word.substr(i, 2) != "<<") return std::nullopt;
  i += 2;
  if (i < word.size() && word[i] == '-') {
    parts.chomp = true;
    ++i;
  }
  parts.delimiter = trim_left(word.substr(i));
  if (parts.delimiter.empty() || parts.delimiter.find('<') != std::string_view::npos)
    return std::nullopt;
  return parts;
}

size_t count_quotes(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return c == '\'' || c == '"'; }));
}

// The delimiter is read twice, with and without its quotes: when the counts of quote
// characters differ, some of them were syntax, and the body is not expanded (H06).
Result<std::optional<Heredoc>> parse_mark(const MarkParts& parts) {
  const EnvironmentList no_variables;
  LexOptions options;
  options.keep_unset = true;
  options.split = true;
  LexResult plain = TRY(lex(parts.delimiter, no_variables, options));
  if (plain.words.size() != 1) return std::optional<Heredoc>();
  options.raw_quotes = true;
  LexResult raw = TRY(lex(parts.delimiter, no_variables, options));
  if (raw.words.size() != 1) return std::optional<Heredoc>();
  Heredoc out;
  out.name = plain.words[0].text;
  out.expand = count_quotes(plain.words[0].text) == count_quotes(raw.words[0].text);
  out.chomp = parts.chomp;
  constexpr size_t kMaxDigits = 9;
  if (!parts.digits.empty() && parts.digits.size() <= kMaxDigits)
    out.descriptor = std::stoi(std::string(parts.digits));
  return std::optional<Heredoc>(std::move(out));
}

}  // namespace

Result<std::vector<HeredocMark>> find_heredocs(std::string_view line) {
  std::vector<HeredocMark> out;
  if (line.find("<<") == std::string_view::npos) return out;
  const EnvironmentList no_variables;
  LexOptions options;
  options.raw_quotes = true;
  options.raw_escapes = true;
  options.keep_unset = true;
  options.split = true;
  // Whatever the shell lexer cannot read (a stray quote) is left to the shell.
  auto lexed = lex(line, no_variables, options);
  if (!lexed) return out;
  for (const LexWord& word : lexed->words) {
    std::optional<MarkParts> parts = split_mark(word.text);
    if (!parts) continue;
    std::optional<Heredoc> heredoc = TRY(parse_mark(*parts));
    if (heredoc) out.push_back({std::move(*heredoc), word.begin, word.end});
  }
  return out;
}

}  // namespace kasane::dockerfile
