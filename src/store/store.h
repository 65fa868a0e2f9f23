// Store: images, tags, layers, blobs and the step cache under one root directory, shared
// by any number of kasane processes. Layout and commit protocol: docs/store.md.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/hash.h"
#include "base/result.h"
#include "base/stream.h"

namespace kasane::store {

class Database;  // store/database.h: the SQLite façade
class Locks;     // store/locks.h

struct OpenOptions {
  std::string root;
  // Without: a missing store is an empty one for reads, and is created by the first write.
  bool read_only = false;
  // How long to wait for a process that deletes (its lock is held for milliseconds, unless
  // it is stopped) before giving up with kConflict.
  int lock_timeout_ms = 60'000;
};

// `--root`, else $KASANE_ROOT, else /var/lib/kasane for root, else
// ${XDG_DATA_HOME:-$HOME/.local/share}/kasane.
std::string default_root(const std::string& flag);

// One row of `images`: everything the list prints, so that no config is opened.
struct ImageRow {
  Sha256Digest id;            // digest of the config blob
  int64_t created_ns = 0;     // since the epoch; 0 when the config has no date
  uint64_t size_bytes = 0;    // sum of the layers' content sizes
  std::string architecture, os, variant;
  std::map<std::string, std::string> labels;
  int64_t last_tagged_ns = 0;
  std::vector<std::string> tags;     // canonical "docker.io/library/alpine:3", sorted
  std::vector<std::string> digests;  // canonical "docker.io/library/alpine@sha256:..."
};

struct ImageRecord {   // what put_image() stores
  std::string config_json;                  // exact bytes; their digest is the image id
  std::vector<Sha256Digest> diff_ids;       // lowest first; layers must be in the store
  // Exact manifest bytes when the image came with one (kept so that digests survive).
  std::string manifest_json;
  std::string manifest_media_type;
  // Canonical references that are to name the image, set in the same transaction: nobody
  // can prune the image as dangling in between, and it costs one sync instead of two.
  std::vector<std::string> tags;
};

struct StepRow {
  Sha256Digest key;
  Sha256Digest diff_id;      // the layer that the step made
  int64_t created_ns = 0;
  uint64_t duration_ns = 0;
  // Which step this is, for explain: "CONTEXT|DOCKERFILE|stage=S|step=N". What follows the
  // first '|' is compared when the context was moved. "": never looked up by scope.
  std::string scope;
  std::string explanation;   // JSON: the readable parts of the key
};

// Which cached steps to drop; without a member: all of them.
struct StepPrune {
  std::optional<int64_t> unused_since_ns;  // only those not used since
  // Least recently used first, until the layers that only cached steps use have no more
  // than this many content bytes.
  std::optional<uint64_t> keep_bytes;
};

// What the step cache costs: layers (content bytes) that only cached steps use.
struct StepUsage {
  uint64_t steps = 0, layers = 0, bytes = 0;
};

// A cached step as a list shows it.
struct StepInfo {
  Sha256Digest key;
  int64_t created_ns = 0, last_used_ns = 0;
  uint64_t size_bytes = 0;  // content of its layer
  bool in_image = false;    // an image has the layer too
};

// One image of a reference that names several; platform as oci::Platform::str().
using PlatformImage = std::pair<std::string, Sha256Digest>;

struct RemovedImage {
  std::vector<std::string> untagged;         // canonical references, in order
  bool deleted = false;
  Sha256Digest id;
  std::vector<Sha256Digest> deleted_layers;  // diff ids, top first, that nothing else used
  uint64_t freed_bytes = 0;
};

struct DamagedObject {
  std::string kind;    // "blob", "layer", "image", "tag", "database"
  std::string name;    // digest or reference
  std::string reason;
};

struct CheckOptions {
  bool deep = true;    // hash every body; false: sizes and presence only
};
struct CheckReport {
  std::vector<DamagedObject> damaged;
  uint64_t blobs = 0, layers = 0, images = 0, bytes_read = 0;
  uint64_t leftovers = 0;  // temporary objects of dead processes that were (or can be) swept
};

// Thread-safe unless said otherwise.
class Store {
 public:
  // kPermission: the directory belongs to somebody else or others may write to it.
  // kUnsupported: a newer kasane wrote it. kCorrupt: the database cannot be read.
  // kConflict: the directory holds something that is no store.
  static Result<std::unique_ptr<Store>> open(const OpenOptions& options);
  ~Store();
  const std::string& root() const { return root_; }
  std::string path(std::string_view below) const { return root_ + "/" + std::string(below); }

  // Held while a build, load or pull works: nothing that exists is deleted meanwhile.
  // Shared between processes; taken automatically by the first write, and kept until
  // release() or the end of the Store. Take it before looking up what you will rely on.
  Result<void> hold();
  void release();

  // A fresh private directory below ingest/, with a kernel lock that lives as long as
  // the object; swept by the next writer if this process dies.
  class Ingest {
   public:
    Ingest(std::string path, UniqueFd lock) : path_(std::move(path)), lock_(std::move(lock)) {}
    Ingest(Ingest&& other) noexcept
        : path_(std::exchange(other.path_, {})), lock_(std::move(other.lock_)) {}
    Ingest& operator=(Ingest&&) = delete;
    ~Ingest();  // removes what is left (never fails: the rest goes to trash/)
    const std::string& path() const { return path_; }

   private:
    std::string path_;
    UniqueFd lock_;
  };
  Result<Ingest> new_ingest();

  // ---- blobs/sha256/<hex>: configs, manifests, compressed layers, byte for byte
  // Durable when it returns. An equal blob is reused, a damaged one of the name replaced.
  Result<Sha256Digest> put_blob(std::string_view bytes);
  // Verifies the digest: kCorrupt when the stored bytes have another, kNotFound, kLimit.
  Result<std::string> read_blob(const Sha256Digest& digest, uint64_t max_bytes = 4u << 20);
  bool has_blob(const Sha256Digest& digest) const;

  // ---- images and tags (references are canonical: oci::Reference::canonical())
  // kInvalid when config, diff_ids and manifest disagree, kNotFound when a layer is missing.
  // Putting an image that is there changes nothing (a manifest that it lacked is added).
  Result<Sha256Digest> put_image(const ImageRecord& image);
  // `reference` is "name:tag", or "name@digest" for what `images --digests` shows. Moves a
  // tag that exists; writes nothing when it already says so.
  Result<void> tag(const Sha256Digest& image, const std::string& reference);
  // One "name:tag" for the images of several platforms: replaces all that it named. The
  // plain tag means the host's platform, else the first. kNotFound when an image is missing,
  // kInvalid for digest references, bad or repeated platforms. tag() and put_image() make
  // the reference name a single image again.
  Result<void> tag_platforms(const std::string& reference,
                             const std::vector<PlatformImage>& images);
  // nullopt when the reference names no image of that platform through tag_platforms().
  Result<std::optional<Sha256Digest>> find_tag_platform(const std::string& reference,
                                                        const std::string& platform);
  // All images of the reference, by platform; empty for a plain tag.
  Result<std::vector<PlatformImage>> platforms_of(const std::string& reference);
  // Newest first, then by id. A tag of several platforms is shown with each of its images.
  Result<std::vector<ImageRow>> list_images();
  Result<std::optional<Sha256Digest>> find_tag(const std::string& reference);
  // Images whose id starts with the hex prefix (at most `limit`).
  Result<std::vector<Sha256Digest>> find_by_prefix(std::string_view hex_prefix, size_t limit = 2);
  Result<ImageRow> image_row(const Sha256Digest& image);
  Result<std::vector<Sha256Digest>> image_layers(const Sha256Digest& image);
  Result<std::string> image_config(const Sha256Digest& image);  // exact JSON bytes
  // Exact bytes of the manifest that the image came with; nullopt when it had none.
  Result<std::optional<std::string>> image_manifest(const Sha256Digest& image);
  // Sizes (content bytes) of layers by DiffID in one query, same order.
  Result<std::vector<uint64_t>> layer_sizes(const std::vector<Sha256Digest>& diff_ids);

  // Removes one tag (or digest reference), for all its platforms; true when the image that
  // find_tag() gave has no tag left.
  Result<bool> untag(const std::string& reference);
  // Removes the image record and every layer that neither another image nor the step
  // cache uses. While another process holds the store only the records go; the layers are
  // left for the next sweep and not reported. Not while a build uses this same Store: its
  // hold is given up for a moment.
  // `only_untagged`: for prune; an image that has got a tag meanwhile stays (!deleted).
  Result<RemovedImage> remove_image(const Sha256Digest& image, bool only_untagged = false);

  // ---- step cache
  // `scope`: whose step it is to be from now on, for last_step_of(); "" = the scope that
  // made the step. Uses are kept in memory and written together, later.
  Result<std::optional<StepRow>> find_step(const Sha256Digest& key, const std::string& scope = {});
  Result<void> put_step(const StepRow& step);
  // What the scope used last (made or hit), else what the same step of another checkout
  // used last: what to compare with when a key misses.
  Result<std::optional<StepRow>> last_step_of(const std::string& scope);
  // Drops cached steps and every layer that nothing uses any more. Returns freed bytes
  // (content sizes). As for remove_image().
  Result<uint64_t> prune_steps(const StepPrune& which);
  Result<StepUsage> step_usage();
  // Newest first, then by key; those that step_usage() counts.
  Result<std::vector<StepInfo>> list_steps();

  // ---- care
  Result<CheckReport> check(const CheckOptions& options);
  // Removes leftovers of dead processes: their ingest directories, trash, and, when nobody
  // holds the store, layers and blobs that no record reaches. Returns how many. The cheap
  // part (ingest/, trash/) is also done by the first write of every process.
  Result<uint64_t> sweep();

  // How work that needs the owners of an image is run (unpacking trees, reading upper
  // directories). Default: a direct call. A rootless caller sets one that forks into its
  // mapped user namespace. The function works on disk only and returns 0 or an errno.
  using TreeRunner = std::function<Result<int>(const std::function<int()>&)>;
  void set_tree_runner(TreeRunner runner) { tree_runner_ = std::move(runner); }
  const TreeRunner& tree_runner() const { return tree_runner_; }

  // For store/*.cc only.
  Database& database() { return *database_; }  // after ensure_writable()
  // Creates the store when it is missing, takes the shared lock, sweeps once.
  Result<void> ensure_writable();
  Result<void> register_layer(const struct LayerSummary& summary);
  Locks& locks() { return *locks_; }
  // Renames `name` (below root) into trash/; missing is fine. Then somebody empties it.
  Result<void> move_to_trash(const std::string& name);
  uint64_t empty_trash();

 private:
  Store() = default;
  // The database for reading; nullptr: there is no store yet.
  Result<Database*> reader();
  // The database for writing; creates the store if `create`, else nullptr when missing.
  Result<Database*> writer(bool create);
  Result<Database*> attach();  // REQUIRES: mutex_ held, as the next two
  Result<void> create_layout();
  Result<void> create_database();
  Result<Ingest> make_ingest();
  Result<std::string> temporary_name();  // in scratch_
  bool blob_is_sound(const std::string& path, std::string_view bytes) const;
  Result<void> remove_records(const Sha256Digest& image, bool only_untagged, bool with_content,
                              RemovedImage& out);
  // The database for reading tables that the migration fills.
  Result<Database*> migrated_reader();
  void flush_used_steps();
  // Deletion (gc.cc). Names are below root.
  // Runs a deletion; on a full disk once more, with the reserved space given up for it.
  Result<void> with_reserve(const std::function<Result<void>()>& work);
  void make_reserve();
  uint64_t sweep_ingests();
  uint64_t count_leftovers();
  Result<uint64_t> sweep_unreachable(uint64_t& freed_bytes);

  std::string root_;
  OpenOptions options_;
  std::mutex mutex_;  // guards the members up to the blank line
  std::unique_ptr<Database> database_;
  bool layout_ready_ = false;
  bool hold_wanted_ = false;  // hold() came before the store existed
  bool swept_ = false;
  std::optional<Ingest> scratch_;  // temporary files of blobs
  struct UsedStep {
    Sha256Digest key;
    std::string scope;  // "" = only the step's own last use
  };
  std::vector<UsedStep> used_steps_;  // hits whose use is not yet written

  std::atomic<uint64_t> counter_ = 0;
  std::unique_ptr<Locks> locks_;
  TreeRunner tree_runner_ = [](const std::function<int()>& work) -> Result<int> { return work(); };
};

}  // namespace kasane::store
