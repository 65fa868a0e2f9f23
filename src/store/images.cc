// Images and the layers that they are made of: rows of the database.
#include <algorithm>
#include <unordered_map>

#include "oci/image_config.h"
#include "oci/manifest.h"
#include "store/check_layer.h"
#include "store/database.h"
#include "store/layer_index.h"
#include "store/locks.h"
#include "store/store.h"
#include "store/store_internal.h"
#include "store/tags.h"

namespace kasane::store {
namespace {

enum BlobRole { kConfigBlob = 0, kManifestBlob = 1, kLayerBlob = 2 };

// ---- labels: "key\0value\0"*; neither can hold a NUL (oci::ImageConfig::parse).

std::string pack_labels(const std::map<std::string, std::string>& labels) {
  std::string out;
  for (const auto& [key, value] : labels) {
    out += key;
    out += '\0';
    out += value;
    out += '\0';
  }
  return out;
}

std::map<std::string, std::string> unpack_labels(std::string_view packed) {
  std::map<std::string, std::string> out;
  while (!packed.empty()) {
    size_t middle = packed.find('\0');
    size_t end = middle == std::string_view::npos ? middle : packed.find('\0', middle + 1);
    if (end == std::string_view::npos) break;
    out.emplace_hint(out.end(), packed.substr(0, middle),
                     packed.substr(middle + 1, end - middle - 1));
    packed.remove_prefix(end + 1);
  }
  return out;
}

// ---- put_image

struct BlobUse {
  Sha256Digest digest;
  BlobRole role;
  int64_t size;
};

struct PreparedImage {
  Sha256Digest id;
  oci::ImageConfig config;
  std::vector<BlobUse> blobs;
};

Result<void> prepare_manifest(const ImageRecord& image, PreparedImage& out) {
  if (image.manifest_json.empty()) return {};
  oci::Manifest manifest = TRY(oci::Manifest::parse(image.manifest_json));
  if (manifest.config.digest != out.id.str())
    return Error(ErrorKind::kInvalid, "the manifest names the config " + manifest.config.digest +
                                          ", but the image has " + out.id.str());
  out.blobs.push_back({sha256(image.manifest_json), kManifestBlob,
                       static_cast<int64_t>(image.manifest_json.size())});
  for (const oci::Descriptor& layer : manifest.layers)
    if (auto digest = Sha256Digest::parse(layer.digest))
      out.blobs.push_back({*digest, kLayerBlob, layer.size});
  return {};
}

Result<PreparedImage> prepare(const ImageRecord& image) {
  PreparedImage out;
  out.id = sha256(image.config_json);
  out.config = TRY(oci::ImageConfig::parse(image.config_json));
  if (out.config.diff_ids != image.diff_ids)
    return Error(ErrorKind::kInvalid, "image config: rootfs.diff_ids are not the " +
                                          std::to_string(image.diff_ids.size()) +
                                          " layers of the image");
  out.blobs.push_back({out.id, kConfigBlob, static_cast<int64_t>(image.config_json.size())});
  TRY(prepare_manifest(image, out));
  return out;
}

// True when nothing needs to be written.
Result<bool> is_recorded(Database& database, const PreparedImage& image) {
  for (const BlobUse& blob : image.blobs) {
    if (blob.role == kLayerBlob) continue;
    Database::Query query =
        TRY(database.query("SELECT 1 FROM image_blobs WHERE image_id = ? AND digest = ?"));
    if (!TRY(query.bind(image.id).bind(blob.digest).next())) return false;
  }
  return true;
}

Result<uint64_t> insert_layers(Database& database, const PreparedImage& image) {
  uint64_t size = 0;
  for (const Sha256Digest& diff_id : image.config.diff_ids) {
    Database::Query layer =
        TRY(database.query("SELECT content_size FROM layers WHERE diff_id = ?"));
    if (!TRY(layer.bind(diff_id).next()))
      return Error(ErrorKind::kNotFound, "layer " + diff_id.str() + " is not in the store");
    size += static_cast<uint64_t>(layer.integer(0));
  }
  int64_t position = 0;
  for (const Sha256Digest& diff_id : image.config.diff_ids) {
    Database::Query insert =
        TRY(database.query("INSERT OR IGNORE INTO image_layers VALUES(?, ?, ?)"));
    TRY(insert.bind(image.id).bind(position++).bind(diff_id).run());
  }
  return size;
}

Result<void> insert_image(Database& database, const PreparedImage& image,
                          const std::string& manifest_media_type) {
  const oci::ImageConfig& config = image.config;
  {
    Database::Query insert = TRY(database.query(
        "INSERT INTO images VALUES(?, ?, 0, ?, ?, ?, ?, 0, ?) ON CONFLICT(id) DO UPDATE SET "
        "manifest_media_type = coalesce(nullif(excluded.manifest_media_type, ''), "
        "manifest_media_type)"));
    insert.bind(image.id).bind(oci::parse_time(config.created).value_or(0));
    insert.bind(config.architecture).bind(config.os).bind(config.variant);
    TRY(insert.bind_blob(pack_labels(config.config.labels)).bind(manifest_media_type).run());
  }
  uint64_t size = TRY(insert_layers(database, image));
  Database::Query update = TRY(database.query("UPDATE images SET size_bytes = ? WHERE id = ?"));
  TRY(update.bind(size).bind(image.id).run());
  for (const BlobUse& blob : image.blobs) {
    Database::Query insert =
        TRY(database.query("INSERT OR IGNORE INTO image_blobs VALUES(?, ?, ?, ?)"));
    TRY(insert.bind(image.id)
            .bind(blob.digest)
            .bind(static_cast<int>(blob.role))
            .bind(blob.size)
            .run());
  }
  return {};
}

// ---- rows

constexpr std::string_view kSelectImages =
    "SELECT id, created_ns, size_bytes, architecture, os, variant, labels, last_tagged_ns "
    "FROM images ORDER BY created_ns DESC, id";
constexpr std::string_view kSelectImage =
    "SELECT id, created_ns, size_bytes, architecture, os, variant, labels, last_tagged_ns "
    "FROM images WHERE id = ?";

// A tag of several platforms names each of its images.
constexpr std::string_view kSelectTags =
    "SELECT reference FROM tags WHERE image_id = ?1 UNION "
    "SELECT reference FROM tag_platforms WHERE image_id = ?1 ORDER BY 1";

ImageRow read_image(const Database::Query& row) {
  ImageRow out;
  out.id = row.digest(0);
  out.created_ns = row.integer(1);
  out.size_bytes = static_cast<uint64_t>(row.integer(2));
  out.architecture = row.text(3);
  out.os = row.text(4);
  out.variant = row.text(5);
  out.labels = unpack_labels(row.text(6));
  out.last_tagged_ns = row.integer(7);
  return out;
}

// Column 0 of every row, which is a reference.
Result<void> read_references(Database& database, std::string_view sql, const Sha256Digest& image,
                             std::vector<std::string>& out) {
  Database::Query row = TRY(database.query(sql));
  row.bind(image);
  while (TRY(row.next())) out.push_back(row.text(0));
  return {};
}

}  // namespace

Result<void> insert_image_record(Database& database, const ImageRecord& image) {
  return insert_image(database, TRY(prepare(image)), image.manifest_media_type);
}

Result<void> rewrite_image(Database& database, const std::string& config_json) {
  PreparedImage image;
  image.id = sha256(config_json);
  image.config = TRY(oci::ImageConfig::parse(config_json));
  const oci::ImageConfig& config = image.config;
  {
    Database::Query clear = TRY(database.query("DELETE FROM image_layers WHERE image_id = ?"));
    TRY(clear.bind(image.id).run());
  }
  const uint64_t size = TRY(insert_layers(database, image));
  Database::Query update = TRY(database.query(
      "UPDATE images SET created_ns = ?, size_bytes = ?, architecture = ?, os = ?, variant = ?, "
      "labels = ? WHERE id = ?"));
  update.bind(oci::parse_time(config.created).value_or(0)).bind(size);
  update.bind(config.architecture).bind(config.os).bind(config.variant);
  return update.bind_blob(pack_labels(config.config.labels)).bind(image.id).run();
}

Result<Sha256Digest> Store::put_image(const ImageRecord& image) {
  PreparedImage prepared = TRY(prepare(image));
  for (const std::string& reference : image.tags) TRY(parse_canonical(reference));
  TRY(ensure_writable());
  TRY(put_blob(image.config_json));
  if (!image.manifest_json.empty()) TRY(put_blob(image.manifest_json));
  Database* database = TRY(reader());
  bool recorded = TRY(is_recorded(*database, prepared));
  for (const std::string& reference : image.tags)
    recorded = recorded && TRY(names_only(*database, reference, prepared.id));
  if (recorded) return prepared.id;
  Database::Transaction transaction = TRY(database->begin(Database::Access::kWrite));
  TRY_CONTEXT(insert_image(*database, prepared, image.manifest_media_type),
              "store image " + prepared.id.str());
  for (const std::string& reference : image.tags)
    TRY(insert_tag(*database, prepared.id, reference));
  TRY(transaction.commit());
  return prepared.id;
}

Result<std::vector<ImageRow>> Store::list_images() {
  std::vector<ImageRow> out;
  Database* database = TRY(reader());
  if (!database) return out;
  // One snapshot for the three tables.
  Database::Transaction snapshot = TRY(database->begin(Database::Access::kRead));
  Database::Query images = TRY(database->query(kSelectImages));
  while (TRY(images.next())) out.push_back(read_image(images));
  std::unordered_map<Sha256Digest, ImageRow*, Sha256DigestHash> by_id;
  for (ImageRow& image : out) by_id[image.id] = &image;
  Database::Query tags =
      TRY(database->query("SELECT reference, image_id FROM tags UNION "
                          "SELECT reference, image_id FROM tag_platforms ORDER BY reference"));
  while (TRY(tags.next()))
    if (auto it = by_id.find(tags.digest(1)); it != by_id.end())
      it->second->tags.push_back(tags.text(0));
  Database::Query digests =
      TRY(database->query("SELECT reference, image_id FROM digests ORDER BY reference"));
  while (TRY(digests.next()))
    if (auto it = by_id.find(digests.digest(1)); it != by_id.end())
      it->second->digests.push_back(digests.text(0));
  return out;
}

Result<ImageRow> Store::image_row(const Sha256Digest& image) {
  Database* database = TRY(reader());
  if (!database) return no_such_image(image);
  Database::Transaction snapshot = TRY(database->begin(Database::Access::kRead));
  Database::Query row = TRY(database->query(kSelectImage));
  if (!TRY(row.bind(image).next())) return no_such_image(image);
  ImageRow out = read_image(row);
  TRY(read_references(*database, kSelectTags, image, out.tags));
  TRY(read_references(*database, "SELECT reference FROM digests WHERE image_id = ? ORDER BY 1",
                      image, out.digests));
  return out;
}

Result<std::vector<Sha256Digest>> Store::find_by_prefix(std::string_view hex_prefix, size_t limit) {
  std::vector<Sha256Digest> out;
  std::string padded(hex_prefix);
  if (padded.size() > 64) return out;
  padded.resize(64, '0');
  std::optional<Sha256Digest> low = Sha256Digest::from_hex(padded);
  std::fill(padded.begin() + static_cast<std::ptrdiff_t>(hex_prefix.size()), padded.end(), 'f');
  std::optional<Sha256Digest> high = Sha256Digest::from_hex(padded);
  Database* database = TRY(reader());
  if (!database || !low || !high) return out;
  Database::Query row =
      TRY(database->query("SELECT id FROM images WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?"));
  row.bind(*low).bind(*high).bind(limit);
  while (TRY(row.next())) out.push_back(row.digest(0));
  return out;
}

Result<std::vector<Sha256Digest>> Store::image_layers(const Sha256Digest& image) {
  std::vector<Sha256Digest> out;
  Database* database = TRY(reader());
  if (!database) return no_such_image(image);
  Database::Transaction snapshot = TRY(database->begin(Database::Access::kRead));
  Database::Query exists = TRY(database->query("SELECT 1 FROM images WHERE id = ?"));
  if (!TRY(exists.bind(image).next())) return no_such_image(image);
  Database::Query row =
      TRY(database->query("SELECT diff_id FROM image_layers WHERE image_id = ? ORDER BY position"));
  row.bind(image);
  while (TRY(row.next())) out.push_back(row.digest(0));
  return out;
}

Result<std::string> Store::image_config(const Sha256Digest& image) {
  Database* database = TRY(reader());
  if (!database) return no_such_image(image);
  {
    Database::Query exists = TRY(database->query("SELECT 1 FROM images WHERE id = ?"));
    if (!TRY(exists.bind(image).next())) return no_such_image(image);
  }
  Result<std::string> config = read_blob(image);
  if (!config && config.error().kind() == ErrorKind::kNotFound)
    return Error(ErrorKind::kCorrupt, "the config of image " + image.str() + " is gone")
        .hint("run `kasane store check`; remove the image and build, load or pull it again");
  return config;
}

Result<std::optional<std::string>> Store::image_manifest(const Sha256Digest& image) {
  Database* database = TRY(reader());
  if (!database) return no_such_image(image);
  Sha256Digest digest;
  {
    Database::Query row = TRY(database->query(
        "SELECT digest FROM image_blobs WHERE image_id = ? AND role = 1 ORDER BY digest LIMIT 1"));
    if (!TRY(row.bind(image).next())) return std::optional<std::string>();
    digest = row.digest(0);
  }
  return std::optional<std::string>(TRY(read_blob(digest)));
}

Result<std::vector<uint64_t>> Store::layer_sizes(const std::vector<Sha256Digest>& diff_ids) {
  std::vector<uint64_t> out;
  Database* database = TRY(reader());
  for (const Sha256Digest& diff_id : diff_ids) {
    bool found = false;
    if (database) {
      Database::Query row =
          TRY(database->query("SELECT content_size FROM layers WHERE diff_id = ?"));
      found = TRY(row.bind(diff_id).next());
      if (found) out.push_back(static_cast<uint64_t>(row.integer(0)));
    }
    if (!found)
      return Error(ErrorKind::kNotFound, "layer " + diff_id.str() + " is not in the store");
  }
  return out;
}

Result<void> insert_layer(Database& database, const LayerSummary& summary) {
  Database::Query insert =
      TRY(database.query("INSERT OR IGNORE INTO layers VALUES(?, ?, ?, ?, ?, ?, ?)"));
  insert.bind(summary.diff_id).bind(summary.content_id).bind(summary.tar_size);
  insert.bind(summary.content_size).bind(summary.entry_count).bind(summary.canonical);
  return insert.bind(now_ns()).run();
}

Result<void> Store::register_layer(const LayerSummary& summary) {
  TRY(ensure_writable());
  Database* database = TRY(reader());
  {
    Database::Query known = TRY(database->query("SELECT 1 FROM layers WHERE diff_id = ?"));
    if (TRY(known.bind(summary.diff_id).next())) return {};
  }
  // Not durable by itself: the commit of the image that uses the layer makes it so. Lost
  // before that, the directory is an orphan, and making the layer again adopts it.
  Database::Transaction transaction = TRY(database->begin(Database::Access::kWriteCache));
  TRY(insert_layer(*database, summary));
  return transaction.commit();
}

}  // namespace kasane::store
