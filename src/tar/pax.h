// PAX extended headers: pax(1) "pax Extended Header", GNU tar manual "Storing Sparse
// Files", SCHILY.xattr of star, LIBARCHIVE.xattr of bsdtar. Internal to src/tar.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tar/reader.h"

namespace kasane::tar {

struct PaxSparse {
  bool present = false;
  std::optional<uint64_t> major;
  std::optional<uint64_t> minor;
  std::optional<uint64_t> block_count;    // GNU.sparse.numblocks
  std::optional<uint64_t> expanded_size;  // GNU.sparse.size (0.x) or .realsize (1.0)
  std::optional<std::string> name;
  std::vector<SparseRegion> regions;  // 0.0 and 0.1
  bool map_is_in_data() const { return major == 1u; }
};

struct PaxHeader {
  std::optional<std::string> path;
  std::optional<std::string> link_path;
  std::optional<uint64_t> size;
  std::optional<uint32_t> uid;
  std::optional<uint32_t> gid;
  std::optional<Timespec> mtime;
  std::vector<Xattr> xattrs;  // sorted, unique
  PaxSparse sparse;
};

// Strict: lengths exact, no key twice, no NUL where it would cut a value (X9). Unknown keys
// are ignored, as POSIX wants. kCorrupt or kLimit.
Result<PaxHeader> parse_pax(std::string_view payload, const ReaderLimits& limits);

// Of a 'g' header only times, comments and star's archive marks are allowed: a global path or
// size would change members that other readers see differently. Returns mtime.
Result<std::optional<Timespec>> parse_global_pax(std::string_view payload,
                                                 const ReaderLimits& limits);

// "<length> key=value\n", the length counting its own digits.
void append_pax_record(std::string& out, std::string_view key, std::string_view value);

// "12", "-0.5": no trailing zeros, the sign counts for the whole number.
std::string format_pax_time(Timespec time);
std::optional<Timespec> parse_pax_time(std::string_view text);

// GNU tar's form of an xattr name in a key, which must not hold '=': "%3D" and "%25".
std::string encode_xattr_key(std::string_view name);
std::string decode_xattr_key(std::string_view key);

// Digits only, at most INT64_MAX.
std::optional<uint64_t> parse_decimal(std::string_view text);

}  // namespace kasane::tar
