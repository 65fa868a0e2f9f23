// LayerIndex: every entry of one layer, sorted, mapped read-only from layers/<diffid>/index.
// It answers lookups, listings, digests and sizes without touching the layer's bodies.
// File format: see layer_index.cc. Immutable after open; any thread may read.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/hash.h"
#include "base/result.h"
#include "tar/entry.h"

namespace kasane::store {

// What the store knows of one entry besides its tar header fields.
struct IndexedEntry {
  tar::Entry entry;            // path is the tar path: whiteouts are "dir/.wh.name"
  Sha256Digest content;        // SHA-256 of the expanded content; zero unless a file with size > 0
  uint64_t header_offset = 0;  // of the member's first header block in the tar
  uint64_t data_offset = 0;    // of its stored bytes
  uint64_t raw_size = 0;       // stored bytes (differs from entry.size only when sparse)
  bool sparse = false;
};

struct LayerSummary {
  Sha256Digest diff_id;
  Sha256Digest content_id;    // over all entries without their mtimes: equal layers that
                              // differ only in times have equal content ids
  uint64_t tar_size = 0;      // bytes of the uncompressed tar
  uint64_t content_size = 0;  // sum of file sizes; what docker calls the layer's size
  uint64_t entry_count = 0;
  bool canonical = false;  // the canonical writer gives exactly this tar
};

// Zero-copy view of one entry. Valid as long as its index.
struct EntryView {
  tar::EntryType type;
  std::string_view path;
  std::string_view link_target;
  uint32_t mode, uid, gid;
  uint64_t size;
  Timespec mtime;
  uint32_t dev_major, dev_minor;
  Sha256Digest content;
  uint64_t header_offset, data_offset, raw_size;
  bool sparse;
  std::vector<tar::Xattr> xattrs;
  tar::Entry to_entry() const;
};

class LayerIndex {
 public:
  virtual ~LayerIndex() = default;
  // Maps and checks the header, the sizes and (verify = true) the checksum of the file.
  static Result<std::shared_ptr<const LayerIndex>> open(const std::string& path,
                                                        bool verify = false);

  virtual const LayerSummary& summary() const = 0;
  virtual size_t size() const = 0;  // entries, in compare_paths order, unique paths
  virtual EntryView at(size_t i) const = 0;
  virtual std::string_view path_at(size_t i) const = 0;  // cheaper than at(i).path
  virtual tar::EntryType type_at(size_t i) const = 0;    // cheaper than at(i).type
  virtual std::optional<size_t> find(std::string_view path) const = 0;
  // [begin, end) of the entries strictly below `directory` ("" = all but the root entry).
  virtual std::pair<size_t, size_t> subtree(std::string_view directory) const = 0;
  // Position of tar order: i-th member of the tar is at(tar_order(i)). Identity when canonical.
  virtual size_t tar_order(size_t i) const = 0;
  // Whether any entry is a whiteout or an opaque marker: most base layers have none, and
  // lookups then skip searching for them.
  virtual bool has_whiteouts() const = 0;
  // Whether some entry's parent directory is not listed.
  virtual bool has_implicit_parents() const = 0;
};

// Collects entries (any order; a later duplicate path replaces an earlier one, as tar
// extraction does) and writes the index file. Not thread-safe.
class LayerIndexBuilder {
 public:
  void add(IndexedEntry entry);
  size_t size() const { return entries_.size(); }
  bool had_duplicates() const { return duplicates_; }  // known after write()
  // Sorts, computes content_id, writes `path` (no fsync of the directory; the file is
  // fsynced when `sync`). kInvalid (naming both entries) when an entry lies below one that
  // is no directory, or a hard link names nothing that comes before it in the tar. Chains
  // of hard links are shortened to the file itself; that, and duplicates, make the
  // summary's `canonical` false whatever the argument says. Call once.
  Result<LayerSummary> write(const std::string& path, const Sha256Digest& diff_id,
                             uint64_t tar_size, bool canonical, bool sync);

 private:
  Result<void> settle();  // sort, drop duplicates, check parents, settle hard links

  std::vector<IndexedEntry> entries_;
  bool sorted_ = true;
  bool duplicates_ = false;
  bool links_changed_ = false;
  bool implicit_parents_ = false;
};

}  // namespace kasane::store
