#include "dockerfile/words.h"

#include "dockerfile/unicode.h"

namespace kasane::dockerfile {
namespace {

// The separators of keywords and plain words. A no-break space is not among them (P11).
bool is_separator(char c) { return c == ' ' || c == '\t' || c == '\v' || c == '\f' || c == '\r'; }

bool is_quote(char c) { return c == '\'' || c == '"'; }

// Reads one flag word at `position`, removing quotes and escapes.
SplitFlag read_flag(std::string_view text, size_t& position, char escape) {
  SplitFlag out;
  size_t begin = position;
  char quote = '\0';
  while (position < text.size()) {
    CodePoint c = decode_utf8(text, position);
    char byte = text[position];
    if (!quote && is_space(c.value)) break;
    if (quote ? byte == quote : is_quote(byte)) {
      quote = quote ? '\0' : byte;
      ++position;
      continue;
    }
    if (byte == escape) {
      if (++position == text.size()) break;  // a dangling escape vanishes
      c = decode_utf8(text, position);
    }
    out.text += text.substr(position, c.length);
    position += c.length;
  }
  out.written = text.substr(begin, position - begin);
  return out;
}

// Leading words that start with `--`; `--` alone ends them. Returns what is left.
std::string_view take_flags(std::string_view text, char escape, std::vector<SplitFlag>& flags) {
  size_t position = 0;
  while (true) {
    std::string_view left = trim_left(text.substr(position));
    if (!left.starts_with("--")) return left;
    position = text.size() - left.size();
    SplitFlag flag = read_flag(text, position, escape);
    if (flag.text == "--") return text.substr(position);
    flags.push_back(std::move(flag));
  }
}

}  // namespace

BlankCut cut_blanks(std::string_view text) {
  BlankCut out;
  size_t i = 0;
  while (i < text.size() && !is_separator(text[i])) ++i;
  out.before = text.substr(0, i);
  out.found = i < text.size();
  while (i < text.size() && is_separator(text[i])) ++i;
  out.after = text.substr(i);
  return out;
}

SplitCommand split_command(std::string_view line, char escape) {
  SplitCommand out;
  BlankCut cut = cut_blanks(trim(line));
  out.keyword = cut.before;
  out.rest = trim(take_flags(cut.after, escape, out.flags));
  return out;
}

std::vector<QuotedWord> split_quoted(std::string_view text, char escape) {
  std::vector<QuotedWord> out;
  size_t position = 0;
  while (true) {
    position = text.size() - trim_left(text.substr(position)).size();
    if (position == text.size()) return out;
    QuotedWord word;
    size_t begin = position;
    char quote = '\0';
    while (position < text.size()) {
      CodePoint c = decode_utf8(text, position);
      char byte = text[position];
      if (!quote && is_space(c.value)) break;
      if (byte == escape && quote != '\'') {
        if (position + 1 == text.size()) {  // dangling: dropped
          ++position;
          break;
        }
        word.text += byte;
        ++position;
        c = decode_utf8(text, position);
      } else if (quote ? byte == quote : is_quote(byte)) {
        quote = quote ? '\0' : byte;
      }
      word.text += text.substr(position, c.length);
      position += c.length;
    }
    word.written = text.substr(begin, position - begin);
    if (!word.text.empty()) out.push_back(std::move(word));
  }
}

std::vector<std::string_view> split_blanks(std::string_view text) {
  std::vector<std::string_view> out;
  while (!text.empty()) {
    BlankCut cut = cut_blanks(text);
    out.push_back(cut.before);
    text = cut.after;
  }
  return out;
}

}  // namespace kasane::dockerfile
