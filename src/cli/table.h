// Columns as docker's tables have them: Go's text/tabwriter with minimum width 10, padding
// 3, widths in display columns.
#pragma once

#include <string>
#include <string_view>

namespace kasane::cli {

struct TableOptions {
  size_t min_width = 10;
  size_t padding = 3;
};

// Cells are ended by tabs; what follows the last tab of a line is in no column and is not
// padded. A column is a run of adjacent lines that have a cell there.
std::string align_table(std::string_view text, const TableOptions& options = {});

}  // namespace kasane::cli
