// How many terminal columns text takes. Pure functions.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace kasane::ui {

// East Asian wide and emoji runes count 2, combining marks and controls 0.
size_t display_width(std::string_view text);

// The longest prefix of at most `columns`; `tail` (one column: "…") replaces the end when
// something had to go. columns = 0 gives "".
std::string truncate_columns(std::string_view text, size_t columns, std::string_view tail = {});

}  // namespace kasane::ui
