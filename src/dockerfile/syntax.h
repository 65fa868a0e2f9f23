// The lexical level: every instruction split into keyword, flags and arguments by the rule
// of its kind, heredoc bodies attached, nothing judged yet. parser.cc makes the AST of it,
// dump.cc prints it. Internal to this folder.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "dockerfile/ast.h"
#include "dockerfile/line_reader.h"

namespace kasane::dockerfile {

inline constexpr size_t kMaxInstructions = 100'000;

struct Node {
  SourceSpan span;  // keyword to last line, heredoc bodies included
  Word keyword;
  std::vector<Word> flags;  // "--name=value", quotes removed
  // ENV, LABEL: key, value, key, value...; others: as the instruction is split (P16-P18).
  std::vector<Word> args;
  bool is_json = false;      // exec form; an empty array is json without args
  bool legacy_pair = false;  // ENV, LABEL: `KEY rest of line`
  SourceSpan args_span;      // all that stands behind keyword and flags
  std::vector<Heredoc> heredocs;
  std::string original;  // the logical line
  std::vector<Word> comments;
  std::shared_ptr<Node> child;  // ONBUILD: the instruction behind it
  std::string child_text;       // ONBUILD: its text, without heredoc bodies
};

struct SyntaxTree {
  Directives directives;
  std::vector<Node> nodes;  // never empty
  std::vector<Warning> warnings;
};

// Errors carry spans and the context "dockerfile parse error on line N".
Result<SyntaxTree> read_syntax(std::shared_ptr<const SourceText> source);

// Adds "dockerfile parse error on line N" and, when the error blames nothing yet, `span`.
Error parse_error(Error error, const SourceSpan& span);

}  // namespace kasane::dockerfile
