// Layer: one layer of the store with its index and its two bodies, and the ways to make one.
//   layers/<diffid>/index     always
//   layers/<diffid>/blob      the uncompressed tar        } at least one of the two,
//   layers/<diffid>/tree/     unpacked, overlayfs form    } each made from the other on demand
//   layers/<diffid>/split     bytes of a foreign (non-canonical) tar that are not file
//                             content, so that blob can be made again from tree bit for bit
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/stream.h"
#include "store/layer_index.h"

namespace kasane::store {

class Store;

// Runs work on disk where the owners of an image exist; see Store::set_tree_runner().
using TreeRunner = std::function<Result<int>(const std::function<int()>&)>;

// Immutable handle; thread-safe. The directory cannot be deleted while a Store that
// handed it out is open with its shared lock (see store/locks.h).
class Layer {
 public:
  // `runner` is used to read a tree whose files belong to mapped ids; empty = directly.
  // `fetch`, of a layer that is elsewhere: brings it into the store and checks that `index` is
  // its index. Asked before every use of the bodies; cheap once it succeeded. Thread-safe.
  using Fetch = std::function<Result<void>()>;
  Layer(std::string directory, std::shared_ptr<const LayerIndex> index, TreeRunner runner = {},
        Fetch fetch = {})
      : directory_(std::move(directory)),
        index_(std::move(index)),
        runner_(std::move(runner)),
        fetch_(std::move(fetch)) {}
  const Sha256Digest& diff_id() const { return index_->summary().diff_id; }
  const LayerIndex& index() const { return *index_; }
  const std::string& directory() const { return directory_; }  // layers/<diffid>, absolute
  std::string blob_path() const { return directory_ + "/blob"; }
  std::string tree_path() const { return directory_ + "/tree"; }
  std::string split_path() const { return directory_ + "/split"; }
  bool has_blob() const;
  bool has_tree() const;
  // Until its bodies are used, a layer that somebody else describes is a claim (remote_layer.h).
  bool is_claimed() const { return fetch_ != nullptr; }
  // After success the store has the layer, and index() is true.
  Result<void> bring() const { return fetch_ ? fetch_() : Result<void>(); }

  // Streams the uncompressed tar, whose digest is diff_id(): from blob, or made again
  // from tree. kCorrupt when neither body can give it. The bytes are hashed as they pass:
  // a damaged body gives kCorrupt instead of the end of the stream, so a reader that saw
  // the end has seen exactly the layer. The result must not outlive the Layer.
  Result<std::unique_ptr<ByteSource>> open_tar() const;

  // Expanded content of the file entry `i` (for a hard link: of the file it names). Reads
  // from whichever body is there and checks the digest like open_tar(). kInvalid for other
  // types. The result must not outlive the Layer.
  Result<std::unique_ptr<ByteSource>> open_content(size_t i) const;

  // Path of the unpacked tree, made from the blob first if it is not there (ingest →
  // write → syncfs → rename). As root: exact owners, devices, xattrs. Runs through
  // Store::tree_runner(); in a user namespace what cannot be made there (devices, owners
  // outside the map, trusted and security xattrs) is left out of the tree. The index keeps
  // it all, so tars made again from the tree are still exact. A parent directory that the
  // layer does not list becomes 0755 root:root. Several threads and processes may ask at
  // once; one unpacks, the others use it.
  Result<std::string> ensure_tree(Store& store) const;
  Result<std::string> ensure_blob(Store& store) const;

 private:
  std::string directory_;
  std::shared_ptr<const LayerIndex> index_;
  TreeRunner runner_;
  Fetch fetch_;
};
using LayerPtr = std::shared_ptr<const Layer>;

// Writes a new canonical, blob-bodied layer in one pass: content is read once, hashed,
// put into the tar, hashed again for the DiffID and written. Entries must come in
// compare_paths order. Nothing is visible before commit(). One thread.
class LayerWriter {
 public:
  virtual ~LayerWriter() = default;  // without commit(): everything is removed
  // Entries without content (directories, links, devices, whiteouts, empty files).
  virtual Result<void> add(const tar::Entry& entry) = 0;
  // Exactly entry.size bytes must come from `content` (else kConflict: file changed while
  // it was read). `known` skips the content hash when the caller already has it.
  virtual Result<Sha256Digest> add_file(const tar::Entry& entry, ByteSource& content,
                                        const Sha256Digest* known = nullptr) = 0;
  // Commit protocol: flush → fsync → rename into layers/ → fsync parent → database row.
  // If the layer exists already, the new copy is dropped and the old one returned.
  virtual Result<LayerPtr> commit() = 0;
};

struct AdoptOptions {
  // mtimes later than this are clamped to it, in the index and on the tree's files.
  std::optional<int64_t> epoch;  // SOURCE_DATE_EPOCH, seconds
  // Entries of the upper directory that say the same as the layers below (a directory
  // that overlayfs copied up but whose metadata is unchanged) are left out of the layer.
  std::vector<LayerPtr> below;  // lowest first
};

// The ways to make a layer. All follow the commit protocol; all may be called from
// several threads and processes at once.
Result<std::unique_ptr<LayerWriter>> new_layer(Store& store);

struct ImportOptions {
  std::optional<Sha256Digest> expected_diff_id;  // kCorrupt if the tar has another
  uint64_t max_tar_bytes = 1ull << 40;
};
// Reads a foreign, uncompressed tar once: verifies, indexes and stores it (blob body).
// Hostile members are refused as in reference X1-X16, and nothing stays behind.
Result<LayerPtr> import_layer(Store& store, ByteSource& tar, const ImportOptions& options);

// Turns the upper directory of a RUN step (overlayfs form) into a layer: reads it once
// for the index and the DiffID, then renames it to layers/<diffid>/tree.
Result<LayerPtr> adopt_tree(Store& store, const std::string& upper_dir,
                            const AdoptOptions& options);

Result<LayerPtr> open_layer(Store& store, const Sha256Digest& diff_id);

// Whether an image may refer to the layer, so that it need not be made. A process that died may
// have left a whole layer without its record: that is recorded now. REQUIRES: the store is held.
Result<bool> adopt_layer(Store& store, const Sha256Digest& diff_id);

// Identity of a stack of layers without times: H(content ids), lowest first. Used in
// step keys, so that a step rebuilt to equal content still hits everything after it.
Sha256Digest chain_content_id(const std::vector<LayerPtr>& layers);
// OCI image-spec config.md "ChainID".
Sha256Digest chain_id(const std::vector<Sha256Digest>& diff_ids);

}  // namespace kasane::store
