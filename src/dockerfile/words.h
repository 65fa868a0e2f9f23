// Splitting the text behind a keyword into flags and words, by the rule of each instruction
// (P11, P13, P16-P18). All results are views into the given text, except where removing
// quotes changes it. Internal to the parser.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace kasane::dockerfile {

struct SplitFlag {
  std::string text;  // quotes and escapes removed, "--" included
  std::string_view written;
};

struct SplitCommand {
  std::string_view keyword;
  std::vector<SplitFlag> flags;
  std::string_view rest;  // trimmed
};

SplitCommand split_command(std::string_view line, char escape);

// ENV, LABEL, ARG: split at blanks outside quotes; quotes and escapes stay in the words.
struct QuotedWord {
  std::string text;  // `written` without an escape character that dangles at the end
  std::string_view written;
};
std::vector<QuotedWord> split_quoted(std::string_view text, char escape);

// FROM, EXPOSE, COPY, ADD, VOLUME: split at runs of tab, VT, FF, CR and space.
std::vector<std::string_view> split_blanks(std::string_view text);

// First such run: what stands before it and what stands behind it. `found` tells whether
// there was one.
struct BlankCut {
  std::string_view before;
  std::string_view after;
  bool found = false;
};
BlankCut cut_blanks(std::string_view text);

}  // namespace kasane::dockerfile
