// The 512-byte header block of tar: fields and numbers. POSIX pax(1) "ustar Interchange
// Format"; GNU tar manual "Basic Tar Format". Internal to src/tar. Pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace kasane::tar {

inline constexpr size_t kBlockSize = 512;
inline constexpr uint64_t kMaxOctal11 = 077777777777;  // size and mtime fields
inline constexpr uint64_t kMaxOctal7 = 07777777;       // mode, uid, gid and device fields

struct RawHeader {
  char name[100];
  char mode[8];
  char uid[8];
  char gid[8];
  char size[12];
  char mtime[12];
  char checksum[8];
  char typeflag;
  char linkname[100];
  char magic[6];
  char version[2];
  char uname[32];
  char gname[32];
  char dev_major[8];
  char dev_minor[8];
  char prefix[155];
  char unused[12];
};
static_assert(sizeof(RawHeader) == kBlockSize);

enum class HeaderFormat { kV7, kUstar, kGnu };
HeaderFormat header_format(const RawHeader& header);

// Bytes up to the first NUL of a fixed field.
std::string_view text_field(std::span<const char> field);

// Octal digits between blanks and an end of NULs or blanks, or GNU base-256. No digits at
// all is 0. nullopt when it is neither, or does not fit.
std::optional<int64_t> parse_number(std::span<const char> field);

// field.size() - 1 octal digits and a NUL. REQUIRES that the value fits.
void put_octal(std::span<char> field, uint64_t value);

// The stored sum equals the sum of the bytes, unsigned (POSIX) or signed (old tars).
bool checksum_matches(const RawHeader& header);
void put_checksum(RawHeader& header);

bool all_zero(std::span<const uint8_t> bytes);

// Bytes that fill `size` up to a whole block.
inline uint64_t padding_of(uint64_t size) { return (kBlockSize - size % kBlockSize) % kBlockSize; }

}  // namespace kasane::tar
