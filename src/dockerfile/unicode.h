// Text helpers that agree with Go's strings, unicode and strconv packages, because the
// Dockerfile language is defined by a Go program. Pure functions; internal to this folder.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace kasane::dockerfile {

inline constexpr uint32_t kInvalidCodePoint = 0xffffffff;

struct CodePoint {
  uint32_t value;   // kInvalidCodePoint for a byte that starts no valid sequence
  uint32_t length;  // bytes; 1 for an invalid one, so that bytes are never lost
};

// REQUIRES: position < text.size()
CodePoint decode_utf8(std::string_view text, size_t position);
void append_utf8(std::string& out, uint32_t code_point);

bool is_space(uint32_t code_point);   // unicode.IsSpace
bool is_letter(uint32_t code_point);  // unicode.IsLetter
bool is_digit(uint32_t code_point);   // unicode.IsDigit

// strings.TrimSpace and its halves.
std::string_view trim(std::string_view text);
std::string_view trim_left(std::string_view text);
std::string_view trim_right(std::string_view text);

// strconv.Quote: a double-quoted literal with \n, \x00, \u0085 for what cannot be printed.
std::string quote(std::string_view text);

std::string to_upper(std::string_view text);

}  // namespace kasane::dockerfile
