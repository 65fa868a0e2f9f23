// SourceTree: where COPY, ADD and bind mounts take files from. Two kinds: the build context
// (a directory, read in place) and the root file system of a stage or image (answered from
// layer indexes). Paths are relative to the tree's root, clean, without leading '/'; "" is
// the root. Implementations are thread-safe.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/stream.h"
#include "tar/entry.h"

namespace kasane::build {

struct SourceEntry {
  tar::Entry entry;  // path is the path in the tree; hard links appear as files
  // Files with the same non-zero link group are one inode.
  uint64_t link_group_device = 0;
  uint64_t link_group_inode = 0;
  std::optional<Sha256Digest> content;  // when known without reading
  // Identity at the time of the walk; the context's open() refuses a file that changed since.
  int64_t mtime_check_ns = 0, ctime_check_ns = 0;
};

// Shared, because a big context has its entries in the walk and in the plan at once.
using SourcePtr = std::shared_ptr<const SourceEntry>;

class SourceTree {
 public:
  virtual ~SourceTree() = default;
  // What stands at exactly this path (a symlink is not followed). Null: nothing, or the
  // ignore file excludes it.
  virtual Result<SourcePtr> lookup(std::string_view path) = 0;
  // The visible children of a directory, sorted bytewise by name.
  virtual Result<std::vector<SourcePtr>> children(std::string_view directory) = 0;
  virtual Result<std::unique_ptr<ByteSource>> open(const SourceEntry& entry) = 0;
  // The content digest of a file, reading it if it must.
  virtual Result<Sha256Digest> digest(const SourceEntry& entry) = 0;
  // Told after a file was read whole with this digest, so that it need not be read again.
  virtual void learned(const SourceEntry& entry, const Sha256Digest& digest) = 0;
  // Digest over the identity (inode, size, times, mode) of everything at and below `path`
  // that is visible, without keeping entries. Equal fingerprints: nothing changed. nullopt
  // where there is none: no such path, a symlink leads there, or the tree is no directory
  // of this machine.
  struct Fingerprint {
    Sha256Digest digest;
    bool is_directory = false;
    bool settled = false;  // no change was so recent that another could look the same
  };
  virtual Result<std::optional<Fingerprint>> fingerprint(const std::string& /*path*/) {
    return std::optional<Fingerprint>();
  }
  // Keeps what was learned for the next build. Errors are ignored by design.
  virtual void save_knowledge() {}
  // Why a path that a user expects is not there: "line 3 of .dockerignore (`*.md`) excludes it".
  virtual std::string why_absent(std::string_view path) = 0;
};

// Symlinks of all components are followed as if the tree's root were "/", the last one too.
// nullopt when something on the way is missing; kInvalid for loops.
Result<std::optional<std::string>> resolve_in(SourceTree& tree, std::string_view path);

// "a//./b/../c/" → "a/c"; ".." never leaves the root. "" for the root.
std::string clean_path(std::string_view path);
std::string join_path(std::string_view directory, std::string_view name);
std::string_view base_name(std::string_view path);
std::string_view parent_path(std::string_view path);  // "" for top-level names

}  // namespace kasane::build
