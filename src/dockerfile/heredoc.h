// Which words of a line open a heredoc, and what their delimiters mean (H02-H06).
// Internal to the parser.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "dockerfile/ast.h"

namespace kasane::dockerfile {

struct HeredocMark {
  Heredoc heredoc;   // name, expand, chomp, descriptor; spans and body are still empty
  size_t begin = 0;  // place of the mark in the line
  size_t end = 0;
};

// All marks of a logical line in order. A line whose quotes do not close has none. The error
// is that of a delimiter with an unclosed quote.
Result<std::vector<HeredocMark>> find_heredocs(std::string_view line);

}  // namespace kasane::dockerfile
