// The registry's folder as a store of blobs, manifests, tags and uploads (layout.h). Every
// repository sees only what was pushed or mounted into it; the bytes are kept once.
//
// Locks (flock, so none is ever stale):
//   lock.serve  exclusive by the one server that may write
//   lock.gc     shared while something is added or removed, exclusive while garbage is collected
//   lock.gate   on the way to lock.gc: a collection that waits holds it exclusively, so that new
//               pushes queue up behind it; flock alone would let them pass for ever
#pragma once

#include <array>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/stream.h"
#include "serve/layout.h"
#include "serve/manifest_document.h"

namespace kasane::serve {

// flock(2), held until destroyed. Waits for as long as it takes: the exclusive holder is a
// garbage collection.
Result<UniqueFd> lock_file(const std::string& path, bool exclusive);
// Nothing when somebody else holds it.
Result<std::optional<UniqueFd>> try_lock_file(const std::string& path);

struct BlobInfo {
  uint64_t size = 0;
};

struct ManifestInfo {
  ContentDigest digest;
  std::string media_type;
  uint64_t size = 0;
};

class Storage;

// An upload that this thread alone works on. Gives it back when destroyed.
class Upload {
 public:
  Upload(Upload&&) noexcept;
  ~Upload();
  const std::string& id() const;
  uint64_t size() const;  // bytes received
  // Appends until the source ends. What came before a failure stays, so that the client can go
  // on from there.
  Result<void> append(ByteSource& source);
  // Ends the upload: moves the bytes to their digest. False when they have another one; the
  // upload is gone then too.
  Result<bool> finish(const ContentDigest& expected);
  Result<void> cancel();

 private:
  friend class Storage;
  struct State;
  explicit Upload(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Thread-safe. Names, tags and ids given to it must be checked by the caller.
class Storage {
 public:
  // Makes the folder unless read_only. kConflict when another server writes to it.
  static Result<std::unique_ptr<Storage>> open(const std::string& root, bool read_only);
  ~Storage();

  // ---- blobs
  Result<std::optional<BlobInfo>> find_blob(const std::string& name, const ContentDigest& digest);
  Result<UniqueFd> open_content(const ContentDigest& digest);
  // Makes a blob of repository `from` ("" = of any) a blob of `name`. False when it is not there.
  Result<bool> mount(const std::string& name, const std::string& from, const ContentDigest& digest);
  Result<bool> remove_blob(const std::string& name, const ContentDigest& digest);

  // ---- uploads
  Result<Upload> start_upload(const std::string& name, Algorithm algorithm);
  // kNotFound; kConflict when another request works on it for longer than two seconds.
  Result<Upload> resume_upload(const std::string& name, const std::string& id);

  // ---- manifests and tags
  Result<std::optional<ManifestInfo>> find_manifest(const std::string& name,
                                                    const ContentDigest& digest);
  Result<std::optional<ContentDigest>> find_tag(const std::string& name, const std::string& tag);
  // `allow` is asked for each tag with the digest that it has now (nothing: it is new).
  using TagRule = std::function<bool(const std::string& tag, const ContentDigest* now)>;
  struct PutResult {
    std::string missing;      // digest of a reference that is not in the repository
    std::string wrong_size;   // digest of a reference whose size is another
    std::string refused_tag;  // by `allow`; nothing was stored
  };
  Result<PutResult> put_manifest(const std::string& name, const ContentDigest& digest,
                                 std::string_view bytes, const ManifestDocument& document,
                                 const std::vector<std::string>& tags, const TagRule& allow);
  enum class Removal { kDone, kNotFound, kRefused };
  Result<Removal> remove_tag(const std::string& name, const std::string& tag, const TagRule& allow);
  // With the tags that point at it.
  Result<Removal> remove_manifest(const std::string& name, const ContentDigest& digest,
                                  const TagRule& allow);

  // ---- lists, sorted
  Result<bool> has_repository(const std::string& name);
  Result<std::vector<std::string>> tags(const std::string& name);
  Result<std::vector<std::string>> repositories();
  struct Referrer {
    std::string key;         // "sha256-<hex>"
    std::string descriptor;  // JSON
  };
  Result<std::vector<Referrer>> referrers(const std::string& name, const ContentDigest& subject);

 private:
  friend class Upload;
  struct HashState;
  explicit Storage(std::string root);
  Result<UniqueFd> hold();
  std::mutex& repository_mutex(const std::string& name);
  Result<void> link_blob(const std::string& name, const ContentDigest& digest, uint64_t size);
  Result<PutResult> check_references(const std::string& name, const ManifestDocument& document);
  Result<std::unique_ptr<HashState>> take_upload(const std::string& key);
  void give_back(const std::string& key, std::unique_ptr<HashState> state);

  Layout layout_;
  UniqueFd serve_lock_;
  std::array<std::mutex, 64> repository_mutexes_;
  // Uploads in the hands of a request have a null state here; others keep the hash so far.
  std::mutex uploads_mutex_;
  std::condition_variable upload_free_;
  std::map<std::string, std::unique_ptr<HashState>> uploads_;
};

// Repository names below `layout`, sorted, also those without a manifest.
Result<std::vector<std::string>> find_repositories(const Layout& layout);
// The text of a manifest marker.
std::string manifest_marker(const ManifestInfo& info);
std::optional<ManifestInfo> parse_manifest_marker(const ContentDigest& digest,
                                                  std::string_view text);

}  // namespace kasane::serve
