// UTF-8 as Go reads it: an invalid byte is one rune U+FFFD of width 1.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace kasane::cli::tmpl {

struct Rune {
  uint32_t value = 0xfffd;
  size_t width = 1;  // bytes read
  bool valid = false;
};

Rune decode_rune(std::string_view text);  // REQUIRES: !text.empty()
void append_rune(std::string& out, uint32_t rune);
size_t rune_count(std::string_view text);
bool is_printable(uint32_t rune);        // unicode.IsPrint, by ranges
bool is_letter_or_digit(uint32_t rune);  // or '_'
// unicode.ToUpper and ToLower for the Latin, Greek, Cyrillic and Armenian blocks; other scripts
// that have cases are left as they are.
uint32_t to_upper(uint32_t rune);
uint32_t to_lower(uint32_t rune);

}  // namespace kasane::cli::tmpl
