#include "tar/header.h"

#include <algorithm>
#include <cstring>

namespace kasane::tar {
namespace {

struct Sums {
  int64_t as_unsigned = 0;
  int64_t as_signed = 0;
};

// The checksum field itself counts as eight blanks.
Sums sum_of(const RawHeader& header) {
  const char* bytes = reinterpret_cast<const char*>(&header);
  Sums sums;
  for (size_t i = 0; i < kBlockSize; ++i) {
    const bool own = i >= offsetof(RawHeader, checksum) && i < offsetof(RawHeader, typeflag);
    const char byte = own ? ' ' : bytes[i];
    sums.as_unsigned += static_cast<unsigned char>(byte);
    sums.as_signed += static_cast<signed char>(byte);
  }
  return sums;
}

// Two's complement, big endian; the first bit only marks the format, the second is the sign.
std::optional<int64_t> parse_base256(std::span<const char> field) {
  const unsigned char first = static_cast<unsigned char>(field[0]);
  const bool negative = (first & 0x40) != 0;
  uint64_t value = negative ? ~uint64_t{0} : 0;
  for (size_t i = 0; i < field.size(); ++i) {
    unsigned char byte = static_cast<unsigned char>(field[i]);
    if (i == 0) byte = negative ? byte | 0x80 : byte & 0x7f;
    const unsigned char filler = negative ? 0xff : 0;
    if ((value >> 56) != filler) return std::nullopt;  // a significant byte would be lost
    value = value << 8 | byte;
  }
  const int64_t result = static_cast<int64_t>(value);
  if ((result < 0) != negative) return std::nullopt;
  return result;
}

}  // namespace

HeaderFormat header_format(const RawHeader& header) {
  if (std::memcmp(header.magic, "ustar\0", 6) == 0) return HeaderFormat::kUstar;
  if (std::memcmp(header.magic, "ustar ", 6) == 0 && std::memcmp(header.version, " \0", 2) == 0)
    return HeaderFormat::kGnu;
  return HeaderFormat::kV7;
}

std::string_view text_field(std::span<const char> field) {
  const void* end = std::memchr(field.data(), 0, field.size());
  const size_t size = end ? static_cast<const char*>(end) - field.data() : field.size();
  return {field.data(), size};
}

std::optional<int64_t> parse_number(std::span<const char> field) {
  if (static_cast<unsigned char>(field[0]) & 0x80) return parse_base256(field);
  size_t i = 0;
  while (i < field.size() && field[i] == ' ') ++i;
  int64_t value = 0;  // 12 octal digits at most: cannot overflow
  while (i < field.size() && field[i] >= '0' && field[i] <= '7')
    value = value * 8 + (field[i++] - '0');
  while (i < field.size() && (field[i] == ' ' || field[i] == '\0')) ++i;
  if (i != field.size()) return std::nullopt;
  return value;
}

void put_octal(std::span<char> field, uint64_t value) {
  field.back() = '\0';
  for (size_t i = field.size() - 1; i-- > 0; value >>= 3)
    field[i] = static_cast<char>('0' + (value & 7));
}

bool checksum_matches(const RawHeader& header) {
  if (text_field(header.checksum).find_first_of("01234567") == std::string_view::npos) return false;
  const std::optional<int64_t> stored = parse_number(header.checksum);
  if (!stored) return false;
  const Sums sums = sum_of(header);
  return *stored == sums.as_unsigned || *stored == sums.as_signed;
}

void put_checksum(RawHeader& header) {
  put_octal(std::span(header.checksum).first(7), static_cast<uint64_t>(sum_of(header).as_unsigned));
  header.checksum[7] = ' ';
}

bool all_zero(std::span<const uint8_t> bytes) {
  if (bytes.empty()) return true;
  return bytes[0] == 0 && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0;
}

}  // namespace kasane::tar
