// What the layer files of src/store share: the ways to make and read layers on plain
// directories, without a Store. A "layer directory" here holds index, blob, split, tree.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/stream.h"
#include "store/block_sink.h"
#include "store/layer.h"
#include "store/store.h"
#include "tar/writer.h"

namespace kasane::store {

// Writes a canonical tar and its index into a layer directory. Core of LayerWriter, and,
// without a blob, of adopt_tree(). One thread.
class CanonicalBuilder {
 public:
  // `keep_blob` false: the tar is only hashed.
  static Result<std::unique_ptr<CanonicalBuilder>> create(const std::string& layer_directory,
                                                          bool keep_blob);
  Result<void> add(tar::Entry entry);
  Result<Sha256Digest> add_file(const tar::Entry& entry, ByteSource& content,
                                const Sha256Digest* known);
  // Ends the tar and writes the index; both are fsynced when `sync`.
  Result<LayerSummary> finish(bool sync);

 private:
  CanonicalBuilder(std::string directory, UniqueFd blob);

  std::string directory_;
  UniqueFd blob_;
  BlockSink sink_;
  tar::Writer writer_;
  LayerIndexBuilder index_;
  // Hard links by path → the file itself, so that chains never get into the tar.
  std::vector<std::pair<std::string, std::string>> links_;
};

// Reads a foreign tar into <layer_directory>/{blob,index} and, when it is not canonical,
// split. Everything is fsynced.
Result<LayerSummary> import_tar(const std::string& layer_directory, ByteSource& tar,
                                const ImportOptions& options);

// True when the tree holds the content of this entry as the tar has it (so the split file
// need not): a stored, plain, non-empty file that is no whiteout.
bool content_in_tree(const EntryView& entry);

// blob → split, for a layer whose tar the canonical writer would not give.
Result<void> write_split(const LayerIndex& index, const std::string& blob_path,
                         const std::string& split_path);

// kCorrupt when the split file is not what write_split() would write from this (sound) blob.
Result<void> compare_split(const LayerIndex& index, const std::string& blob_path,
                           const std::string& split_path);

// The tar made again from the tree and the index (and the split file unless canonical).
// Not verified: wrap in verified_source(). Keeps `index` alive.
Result<std::unique_ptr<ByteSource>> open_tree_tar(std::shared_ptr<const LayerIndex> index,
                                                  const std::string& tree_path,
                                                  const std::string& split_path);

// openat2 below a tree; a symlink anywhere in the path is an error (ELOOP), so is "..".
Result<UniqueFd> open_in_tree(int tree_fd, std::string_view path, int flags);
// Opens a regular file of a tree and checks its size.
Result<UniqueFd> open_tree_file(int tree_fd, std::string_view path, uint64_t size);

// Passes `inner` through and fails with kCorrupt, naming `what`, instead of ending when
// the bytes are not `size` bytes of that digest.
std::unique_ptr<ByteSource> verified_source(std::unique_ptr<ByteSource> inner, Sha256Digest digest,
                                            uint64_t size, std::string what);
// Reads [offset, offset + size) of a file; owns the descriptor.
std::unique_ptr<ByteSource> file_range_source(UniqueFd fd, uint64_t offset, uint64_t size,
                                              std::string name);
// Expanded content of an entry of a blob (not verified).
Result<std::unique_ptr<ByteSource>> open_blob_content(const EntryView& entry,
                                                      const std::string& blob_path);

// blob → new directory `tree_path` in overlayfs form. Parents of tree_path exist. Not
// synced. On error the partial tree is left for the caller to remove.
Result<void> unpack_tree(const LayerIndex& index, const std::string& blob_path,
                         const std::string& tree_path);

// Upper directory → <layer_directory>/index, and the upper directory itself is brought
// into line with it (noise and sockets removed, times clamped). Both are synced.
Result<LayerSummary> read_upper(const std::string& upper_path, const std::string& layer_directory,
                                const AdoptOptions& options);

// Runs `work` through the runner (empty = directly). Its error comes back through a
// memory file, because the runner may run it in another process.
Result<void> run_with_report(const TreeRunner& runner, const std::function<Result<void>()>& work);

// A source whose bytes `produce` writes, through the runner, in another thread. `produce`
// must own what it uses.
Result<std::unique_ptr<ByteSource>> piped_source(TreeRunner runner,
                                                 std::function<Result<void>(ByteSink&)> produce);

// End of the commit protocol: <layer_directory> becomes layers/<diffid> (or is dropped in
// favour of a sound one that is there) and is registered.
Result<LayerPtr> commit_layer(Store& store, const std::string& layer_directory,
                              const LayerSummary& summary);

// "layer <12 hex digits>", for messages.
std::string layer_name(const Sha256Digest& diff_id);

}  // namespace kasane::store
