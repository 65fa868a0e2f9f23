#include "cli/template/utf8.h"

namespace kasane::cli::tmpl {
namespace {

// Lower case letters first..last are `distance` above their upper case.
struct CaseRange {
  uint32_t first, last, distance;
};
constexpr CaseRange kCaseRanges[] = {
    {'a', 'z', 32},           {0xe0, 0xf6, 32},         {0xf8, 0xfe, 32},  {0x3b1, 0x3c1, 32},
    {0x3c3, 0x3cb, 32},       {0x430, 0x44f, 32},       {0x450, 0x45f, 80}, {0x561, 0x586, 48}};

// Blocks where upper and lower case take turns; the upper one has this lowest bit.
struct PairRange {
  uint32_t first, last, upper_bit;
};
constexpr PairRange kPairRanges[] = {{0x100, 0x12f, 0}, {0x132, 0x137, 0}, {0x139, 0x148, 1},
                                     {0x14a, 0x177, 0}, {0x179, 0x17e, 1}, {0x460, 0x481, 0},
                                     {0x48a, 0x4bf, 0}, {0x4d0, 0x52f, 0}, {0x1e00, 0x1e95, 0},
                                     {0x1ea0, 0x1eff, 0}};

}  // namespace

uint32_t to_upper(uint32_t r) {
  if (r == 0xff) return 0x178;
  if (r == 0xb5) return 0x39c;
  if (r == 0x3c2) return 0x3a3;
  if (r == 0x131) return 'I';
  for (const CaseRange& range : kCaseRanges)
    if (r >= range.first && r <= range.last) return r - range.distance;
  for (const PairRange& range : kPairRanges)
    if (r >= range.first && r <= range.last && (r & 1) != range.upper_bit) return r - 1;
  return r;
}

uint32_t to_lower(uint32_t r) {
  if (r == 0x178) return 0xff;
  if (r == 0x130) return 'i';
  if (r == 0x1e9e) return 0xdf;
  for (const CaseRange& range : kCaseRanges)
    if (r + range.distance >= range.first && r + range.distance <= range.last)
      return r + range.distance;
  for (const PairRange& range : kPairRanges)
    if (r >= range.first && r <= range.last && (r & 1) == range.upper_bit) return r + 1;
  return r;
}

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
