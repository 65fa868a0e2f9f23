// The file layers/<diffid>/index, byte for byte. Little-endian, fixed-size records, so that
// opening maps it and reads the header alone, whatever the number of entries.
//
//   Header
//   Record[entry_count]      in tar::compare_paths order of their paths, unique
//   uint32_t[order_count]    i-th member of the tar → record; absent (0) when identity
//   strings                  paths and link targets, no separators
//   xattrs                   per attribute: XattrHead, name, value
//
// Internal to store/layer_index*.cc.
#pragma once

#include <bit>
#include <cstdint>
#include <type_traits>

namespace kasane::store::index_format {

static_assert(std::endian::native == std::endian::little, "the index file is little-endian");

inline constexpr char kMagic[8] = {'K', 'S', 'N', 'L', 'I', 'D', 'X', '\n'};
inline constexpr uint32_t kVersion = 1;

enum HeaderFlag : uint32_t {
  kCanonical = 1,
  kHasWhiteouts = 2,
  kHasImplicitParents = 4,
};

struct Header {
  char magic[8];
  uint32_t version;
  uint32_t header_size;
  uint32_t record_size;
  uint32_t flags;
  uint64_t entry_count;
  uint64_t order_count;  // 0 or entry_count
  uint64_t strings_size;
  uint64_t xattrs_size;
  uint64_t tar_size;
  uint64_t content_size;
  uint8_t diff_id[32];
  uint8_t content_id[32];
  uint8_t body_checksum[32];    // SHA-256 of everything behind the header
  uint8_t header_checksum[32];  // SHA-256 of the header up to here
};
static_assert(sizeof(Header) == 200 && std::is_trivially_copyable_v<Header>);

enum RecordFlag : uint8_t { kSparse = 1 };

struct Record {
  uint64_t size;
  int64_t mtime_sec;
  uint64_t header_offset;
  uint64_t data_offset;
  uint64_t raw_size;
  uint8_t content[32];
  uint32_t mtime_nsec;
  uint32_t path_offset;   // in strings
  uint32_t link_offset;   // in strings
  uint32_t xattr_offset;  // in xattrs
  uint32_t uid;
  uint32_t gid;
  uint32_t dev_major;
  uint32_t dev_minor;
  uint16_t path_size;
  uint16_t link_size;
  uint16_t xattr_count;
  uint16_t mode;
  uint8_t type;
  uint8_t flags;
  uint8_t reserved[6];
};
static_assert(sizeof(Record) == 120 && std::is_trivially_copyable_v<Record>);

struct XattrHead {
  uint32_t value_size;
  uint16_t name_size;
  uint16_t reserved;
};
static_assert(sizeof(XattrHead) == 8);

}  // namespace kasane::store::index_format
