#include "store/layer_blobs.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <vector>

#include "oci/manifest.h"
#include "store/database.h"

namespace kasane::store {
namespace {

struct Use {
  Sha256Digest manifest;
  size_t position = 0;
};

Result<std::vector<Use>> uses_of(Store& store, const Sha256Digest& diff_id) {
  TRY(store.ensure_writable());
  std::vector<Use> out;
  Database::Query row = TRY(store.database().query(
      "SELECT b.digest, l.position FROM image_layers l JOIN image_blobs b "
      "ON b.image_id = l.image_id AND b.role = 1 WHERE l.diff_id = ? "
      "ORDER BY l.image_id, b.digest, l.position LIMIT 100"));
  row.bind(diff_id);
  while (TRY(row.next())) out.push_back({row.digest(0), static_cast<size_t>(row.integer(1))});
  return out;
}

}  // namespace

Result<std::optional<LayerBlob>> find_layer_blob(Store& store, const Sha256Digest& diff_id) {
  const std::vector<Use> uses = TRY(uses_of(store, diff_id));
  for (const Use& use : uses) {
    Result<std::string> text = store.read_blob(use.manifest);
    if (!text) continue;  // only a shortcut: `store check` reports damage
    Result<oci::Manifest> manifest = oci::Manifest::parse(*text);
    if (!manifest || use.position >= manifest->layers.size()) continue;
    const oci::Descriptor& layer = manifest->layers[use.position];
    const std::optional<Sha256Digest> digest = Sha256Digest::parse(layer.digest);
    if (!digest || !store.has_blob(*digest)) continue;
    LayerBlob blob;
    blob.digest = *digest;
    blob.media_type = layer.media_type;
    blob.path = store.path("blobs/sha256/" + digest->hex());
    struct stat st;
    if (::stat(blob.path.c_str(), &st) != 0 || st.st_size != layer.size) continue;
    blob.size = static_cast<uint64_t>(st.st_size);
    return std::optional<LayerBlob>(std::move(blob));
  }
  return std::optional<LayerBlob>();
}

Result<void> keep_blob_file(Store& store, const std::string& path, const Sha256Digest& digest) {
  UniqueFd fd = TRY(open_file(path, O_RDONLY | O_NOFOLLOW));
  TRY(sync_fd(fd.get(), path));
  const std::string target = store.path("blobs/sha256/" + digest.hex());
  if (::rename(path.c_str(), target.c_str()) != 0)
    return Error::from_errno(errno, "rename to " + target);
  return sync_directory(store.path("blobs/sha256"));
}

Result<void> keep_with_image(Store& store, const Sha256Digest& image, const std::vector<Sha256Digest>& blobs) {
  constexpr int kMayBeThere = 2;  // as compressed layers: needed for a push only
  TRY(store.ensure_writable());
  std::vector<Sha256Digest> fresh;
  for (const Sha256Digest& blob : blobs) {
    Database::Query known =
        TRY(store.database().query("SELECT 1 FROM image_blobs WHERE image_id = ? AND digest = ?"));
    if (!TRY(known.bind(image).bind(blob).next())) fresh.push_back(blob);
  }
  if (fresh.empty()) return {};
  Database::Transaction transaction = TRY(store.database().begin(Database::Access::kWrite));
  for (const Sha256Digest& blob : fresh) {
    struct stat st;
    if (::stat(store.path("blobs/sha256/" + blob.hex()).c_str(), &st) != 0) continue;
    Database::Query insert =
        TRY(store.database().query("INSERT OR IGNORE INTO image_blobs VALUES(?, ?, ?, ?)"));
    TRY(insert.bind(image).bind(blob).bind(kMayBeThere).bind(static_cast<int64_t>(st.st_size)).run());
  }
  return transaction.commit();
}

}  // namespace kasane::store
