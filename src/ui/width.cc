#include "ui/width.h"

#include <algorithm>
#include <cstdint>
#include <iterator>

namespace kasane::ui {
namespace {

struct Range {
  uint32_t first, last;
};

// Unicode 15 East_Asian_Width W and F, joined where only unassigned runes lie between.
constexpr Range kWide[] = {
    {0x1100, 0x115f},   {0x231a, 0x231b},   {0x2329, 0x232a},   {0x23e9, 0x23ec},
    {0x23f0, 0x23f0},   {0x23f3, 0x23f3},   {0x25fd, 0x25fe},   {0x2614, 0x2615},
    {0x2648, 0x2653},   {0x267f, 0x267f},   {0x2693, 0x2693},   {0x26a1, 0x26a1},
    {0x26aa, 0x26ab},   {0x26bd, 0x26be},   {0x26c4, 0x26c5},   {0x26ce, 0x26ce},
    {0x26d4, 0x26d4},   {0x26ea, 0x26ea},   {0x26f2, 0x26f3},   {0x26f5, 0x26f5},
    {0x26fa, 0x26fa},   {0x26fd, 0x26fd},   {0x2705, 0x2705},   {0x270a, 0x270b},
    {0x2728, 0x2728},   {0x274c, 0x274c},   {0x274e, 0x274e},   {0x2753, 0x2755},
    {0x2757, 0x2757},   {0x2795, 0x2797},   {0x27b0, 0x27b0},   {0x27bf, 0x27bf},
    {0x2b1b, 0x2b1c},   {0x2b50, 0x2b50},   {0x2b55, 0x2b55},   {0x2e80, 0x303e},
    {0x3041, 0x33ff},   {0x3400, 0x4dbf},   {0x4e00, 0xa4cf},   {0xa960, 0xa97c},
    {0xac00, 0xd7a3},   {0xf900, 0xfaff},   {0xfe10, 0xfe19},   {0xfe30, 0xfe6b},
    {0xff01, 0xff60},   {0xffe0, 0xffe6},   {0x16fe0, 0x18cff}, {0x1aff0, 0x1b2ff},
    {0x1f004, 0x1f004}, {0x1f0cf, 0x1f0cf}, {0x1f18e, 0x1f18e}, {0x1f191, 0x1f19a},
    {0x1f200, 0x1f320}, {0x1f32d, 0x1f335}, {0x1f337, 0x1f37c}, {0x1f37e, 0x1f393},
    {0x1f3a0, 0x1f3ca}, {0x1f3cf, 0x1f3d3}, {0x1f3e0, 0x1f3f0}, {0x1f3f4, 0x1f3f4},
    {0x1f3f8, 0x1f43e}, {0x1f440, 0x1f440}, {0x1f442, 0x1f4fc}, {0x1f4ff, 0x1f53d},
    {0x1f54b, 0x1f54e}, {0x1f550, 0x1f567}, {0x1f57a, 0x1f57a}, {0x1f595, 0x1f596},
    {0x1f5a4, 0x1f5a4}, {0x1f5fb, 0x1f64f}, {0x1f680, 0x1f6c5}, {0x1f6cc, 0x1f6cc},
    {0x1f6d0, 0x1f6d2}, {0x1f6d5, 0x1f6d7}, {0x1f6dc, 0x1f6df}, {0x1f6eb, 0x1f6ec},
    {0x1f6f4, 0x1f6fc}, {0x1f7e0, 0x1f7f0}, {0x1f90c, 0x1f93a}, {0x1f93c, 0x1f945},
    {0x1f947, 0x1f9ff}, {0x1fa70, 0x1faff}, {0x20000, 0x3fffd},
};

constexpr Range kZero[] = {
    {0x0000, 0x001f},   {0x007f, 0x009f}, {0x0300, 0x036f}, {0x0483, 0x0489}, {0x0591, 0x05bd},
    {0x0610, 0x061a},   {0x064b, 0x065f}, {0x0900, 0x0902}, {0x0e31, 0x0e31}, {0x0e34, 0x0e3a},
    {0x0e47, 0x0e4e},   {0x1ab0, 0x1aff}, {0x1dc0, 0x1dff}, {0x200b, 0x200f}, {0x202a, 0x202e},
    {0x2060, 0x2064},   {0x20d0, 0x20f0}, {0xfe00, 0xfe0f}, {0xfe20, 0xfe2f}, {0xfeff, 0xfeff},
    {0xe0100, 0xe01ef},
};

template <size_t N>
bool contains(const Range (&table)[N], uint32_t rune) {
  auto after = std::upper_bound(std::begin(table), std::end(table), rune,
                                [](uint32_t r, const Range& range) { return r < range.first; });
  return after != std::begin(table) && rune <= std::prev(after)->last;
}

// Bytes of the first rune; an invalid byte stands for itself and takes one column.
size_t first_rune(std::string_view text, uint32_t& rune) {
  unsigned char lead = static_cast<unsigned char>(text[0]);
  size_t length = lead < 0x80 ? 1 : lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc2 ? 2 : 1;
  rune = length == 1 ? (lead < 0x80 ? lead : 0xfffd) : lead & (0x7fu >> length);
  if (length > text.size()) {
    rune = 0xfffd;
    return 1;
  }
  for (size_t i = 1; i < length; ++i) {
    unsigned char c = static_cast<unsigned char>(text[i]);
    if ((c & 0xc0) != 0x80) {
      rune = 0xfffd;
      return 1;
    }
    rune = rune << 6 | (c & 0x3f);
  }
  return length;
}

size_t columns_of(uint32_t rune) {
  if (rune >= 0x20 && rune < 0x7f) return 1;
  if (contains(kZero, rune)) return 0;
  return contains(kWide, rune) ? 2 : 1;
}

}  // namespace

size_t display_width(std::string_view text) {
  size_t width = 0;
  while (!text.empty()) {
    uint32_t rune;
    text.remove_prefix(first_rune(text, rune));
    width += columns_of(rune);
  }
  return width;
}

std::string truncate_columns(std::string_view text, size_t columns, std::string_view tail) {
  if (display_width(text) <= columns) return std::string(text);
  const size_t reserved = tail.empty() || columns == 0 ? 0 : display_width(tail);
  if (reserved > columns) return {};
  size_t used = 0;
  size_t end = 0;
  while (end < text.size()) {
    uint32_t rune;
    size_t length = first_rune(text.substr(end), rune);
    if (used + columns_of(rune) + reserved > columns) break;
    used += columns_of(rune);
    end += length;
  }
  std::string out(text.substr(0, end));
  if (reserved > 0) out += tail;
  return out;
}

}  // namespace kasane::ui
