#include "cli/table.h"

#include <algorithm>
#include <vector>

#include "ui/width.h"

namespace kasane::cli {
namespace {

struct Cell {
  std::string_view text;
  size_t columns;
};
using Line = std::vector<Cell>;

std::vector<Line> split(std::string_view text) {
  std::vector<Line> lines;
  while (!text.empty()) {
    size_t newline = text.find('\n');
    std::string_view line = text.substr(0, newline);
    Line cells;
    while (true) {
      size_t tab = line.find('\t');
      std::string_view cell = line.substr(0, tab);
      cells.push_back({cell, ui::display_width(cell)});
      if (tab == std::string_view::npos) break;
      line.remove_prefix(tab + 1);
    }
    lines.push_back(std::move(cells));
    if (newline == std::string_view::npos) break;
    text.remove_prefix(newline + 1);
  }
  return lines;
}

}  // namespace

std::string align_table(std::string_view text, const TableOptions& options) {
  const std::vector<Line> lines = split(text);
  // widths[i][c]: width of cell c of line i. A column block is found top down: a maximal
  // run of lines with more than c + 1 cells, inside the same blocks of the columns before.
  std::vector<std::vector<size_t>> widths(lines.size());
  size_t most = 0;
  for (size_t i = 0; i < lines.size(); ++i) {
    widths[i].resize(lines[i].size() - 1);
    most = std::max(most, widths[i].size());
  }
  for (size_t c = 0; c < most; ++c) {
    for (size_t begin = 0; begin < lines.size();) {
      size_t end = begin;
      size_t width = options.min_width;
      for (; end < lines.size() && widths[end].size() > c; ++end)
        width = std::max(width, lines[end][c].columns + options.padding);
      for (size_t i = begin; i < end; ++i) widths[i][c] = width;
      begin = std::max(end, begin + 1);
    }
  }
  std::string out;
  for (size_t i = 0; i < lines.size(); ++i) {
    for (size_t c = 0; c < lines[i].size(); ++c) {
      const Cell& cell = lines[i][c];
      out += cell.text;
      if (c < widths[i].size()) out.append(widths[i][c] - cell.columns, ' ');
    }
    out += '\n';
  }
  return out;
}

}  // namespace kasane::cli
