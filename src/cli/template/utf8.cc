#include "cli/template/utf8.h"

namespace kasane::cli::tmpl {

Rune decode_rune(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return {first, 1, true};
  size_t width = first >= 0xf0 && first < 0xf5 ? 4 : first >= 0xe0 && first < 0xf0 ? 3 : 2;
  if (first < 0xc2 || first >= 0xf5 || text.size() < width) return {};
  uint32_t value = first & (0x7f >> width);
  for (size_t i = 1; i < width; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return {};
    value = value << 6 | (byte(i) & 0x3f);
  }
  constexpr uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  if (value < kLeast[width] || value > 0x10ffff || (value >= 0xd800 && value < 0xe000)) return {};
  return {value, width, true};
}

void append_rune(std::string& out, uint32_t rune) {
  if (rune > 0x10ffff || (rune >= 0xd800 && rune < 0xe000)) rune = 0xfffd;
  if (rune < 0x80) {
    out += static_cast<char>(rune);
  } else if (rune < 0x800) {
    out += static_cast<char>(0xc0 | rune >> 6);
    out += static_cast<char>(0x80 | (rune & 0x3f));
  } else if (rune < 0x10000) {
    out += static_cast<char>(0xe0 | rune >> 12);
    out += static_cast<char>(0x80 | (rune >> 6 & 0x3f));
    out += static_cast<char>(0x80 | (rune & 0x3f));
  } else {
    out += static_cast<char>(0xf0 | rune >> 18);
    out += static_cast<char>(0x80 | (rune >> 12 & 0x3f));
    out += static_cast<char>(0x80 | (rune >> 6 & 0x3f));
    out += static_cast<char>(0x80 | (rune & 0x3f));
  }
}

size_t rune_count(std::string_view text) {
  size_t count = 0;
  for (; !text.empty(); ++count) text.remove_prefix(decode_rune(text).width);
  return count;
}

bool is_printable(uint32_t r) {
  if (r < 0x20 || (r >= 0x7f && r <= 0xa0) || r == 0xad) return false;
  if (r >= 0x2000 && r <= 0x200f) return false;
  if (r >= 0x2028 && r <= 0x202f) return false;
  if (r >= 0x205f && r <= 0x206f) return false;
  if (r == 0x1680 || r == 0x3000 || r == 0xfeff) return false;
  if (r >= 0xd800 && r <= 0xf8ff) return false;
  if (r >= 0xfff0 && r <= 0xfffb) return false;
  return (r & 0xfffe) != 0xfffe && r < 0xe0000;
}

bool is_letter_or_digit(uint32_t r) {
  if (r == '_' || (r >= '0' && r <= '9') || (r >= 'a' && r <= 'z') || (r >= 'A' && r <= 'Z'))
    return true;
  return r >= 0xaa && is_printable(r) && r != 0xfffd && !(r >= 0x2010 && r <= 0x2bff) &&
         r != 0xd7 && r != 0xf7;
}

}  // namespace kasane::cli::tmpl
