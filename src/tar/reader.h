// Streaming tar reader for hostile input: v7, ustar, PAX (x, g), GNU long names, GNU and
// PAX sparse files, base-256 numbers. Strict: what other readers could understand
// differently is refused, so that the member list of an accepted stream is GNU tar's.
// Reference X1, X6, X9-X14, X16, X19.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/stream.h"
#include "tar/entry.h"

namespace kasane::tar {

// Exceeding one is kLimit.
struct ReaderLimits {
  uint64_t max_extended_header_bytes = 1u << 20;  // one x, g, L or K payload
  uint32_t max_pax_records = 1000;                // of one x or g header
  uint64_t max_xattr_bytes = 64u << 10;           // one value
  uint64_t max_entries = 5'000'000;
  uint64_t max_expanded_bytes = 1ull << 40;  // sum of Entry::size, holes included
  uint64_t max_hole_bytes = 64ull << 30;     // sum of the holes of sparse files alone
  uint32_t max_sparse_regions = 65536;       // of one file
};

// A run of stored bytes of a sparse file, at `offset` of the expanded content.
struct SparseRegion {
  uint64_t offset = 0;
  uint64_t size = 0;
  bool operator==(const SparseRegion&) const = default;
};

// Offsets count bytes of the tar stream from its start.
struct Member {
  Entry entry;
  // First block that belongs to the member: its x, L or K header if it has one, else its
  // own header. A g header belongs to no member.
  uint64_t header_offset = 0;
  // Where stored content begins: behind the header, old-GNU extension blocks and the map
  // of a PAX 1.0 sparse file.
  uint64_t data_offset = 0;
  // Stored content bytes, padding to 512 not included. 0 unless entry.type is kFile. For a
  // file that is not sparse this equals entry.size.
  uint64_t raw_size = 0;
  bool sparse = false;
  std::vector<SparseRegion> regions;  // sparse only: ascending, their sizes add to raw_size
};

// One thread at a time. The source (and the skeleton sink) must outlive the reader. Reads
// ahead of what it has delivered, but never stops before the end of the source when
// next() returned no member: a digest over the source then covers every byte.
//
// `skeleton`, when given, receives every byte of the stream that is not file content, in
// order: everything outside all [data_offset, data_offset + raw_size). With it, the member
// list and the contents, the stream can be rebuilt bit for bit. All bytes before
// data_offset of a member are delivered when next() returns that member.
//
// Errors: kCorrupt (malformed, ambiguous, truncated), kInvalid (a name that leaves the
// root, a type that layers cannot hold), kLimit, and those of the source. They name the
// member and the offset. After an error every later call returns it again.
class Reader {
 public:
  explicit Reader(ByteSource& source, const ReaderLimits& limits = {},
                  ByteSink* skeleton = nullptr);
  ~Reader();
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  // The next member; what was not read of the last one is skipped. No member = end of the
  // archive: two zero blocks (or one, or none, at the end of the source) and NUL bytes only
  // after them. Names repeat when the archive repeats them; the last one counts (X12).
  // Control xattrs of overlayfs are delivered as they are (X8, tar/whiteout.h).
  Result<std::optional<Member>> next();

  // Expanded content of the current member: up to buffer.size() bytes, holes as zeros; 0
  // at its end. Always 0 for other types than kFile.
  Result<size_t> read(std::span<uint8_t> buffer);

  // Bytes of the tar stream consumed so far (headers parsed, content delivered or skipped).
  uint64_t offset() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace kasane::tar
