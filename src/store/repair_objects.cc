// Repair of blobs and layers: which copy is sound, what can be made from it, what is lost.
#include <fcntl.h>
#include <unistd.h>

#include "store/check_layer.h"
#include "store/database.h"
#include "store/layer_internal.h"
#include "store/repair.h"
#include "store/repair_internal.h"

namespace kasane::store {
namespace {

std::string blob_name(const Sha256Digest& digest) { return "blobs/sha256/" + digest.hex(); }

// Bytes of a blob whose content is what its name says.
std::optional<uint64_t> sound_size(const Store& store, const Sha256Digest& digest) {
  const std::string path = store.path(blob_name(digest));
  Result<UniqueFd> fd = open_file(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  if (!fd) return std::nullopt;
  FdSource source(fd->get(), path);
  HashingSink hash(nullptr);
  Result<uint64_t> size = copy_stream(source, hash);
  if (!size || hash.finish() != digest) return std::nullopt;
  return *size;
}

Result<std::vector<std::string>> digest_references(Database& database, const Sha256Digest& image) {
  std::vector<std::string> out;
  Database::Query row =
      TRY(database.query("SELECT reference FROM digests WHERE image_id = ? ORDER BY reference"));
  row.bind(image);
  while (TRY(row.next())) out.push_back(row.text(0));
  return out;
}

std::optional<oci::Manifest> manifest_of(Store& store, const Sha256Digest& image) {
  Result<std::optional<std::string>> text = store.image_manifest(image);
  if (!text || !*text) return std::nullopt;
  Result<oci::Manifest> manifest = oci::Manifest::parse(**text);
  if (!manifest) return std::nullopt;
  return std::move(*manifest);
}

}  // namespace

Result<void> Repair::repair_blobs(const CheckReport& report) {
  Database& database = store_.database();
  for (const DamagedObject& object : report.damaged) {
    const std::optional<Sha256Digest> digest = Sha256Digest::parse(object.name);
    if (object.kind != "blob" || !digest) continue;
    if (std::optional<uint64_t> size = sound_size(store_, *digest)) {
      Database::Transaction transaction = TRY(database.begin(Database::Access::kWrite));
      {
        Database::Query update =
            TRY(database.query("UPDATE image_blobs SET size = ? WHERE digest = ?"));
        TRY(update.bind(*size).bind(*digest).run());
      }
      TRY(transaction.commit());
      add("rebuilt", "blob", object.name, "the record of its size was wrong");
      continue;
    }
    int64_t role = -1;
    {
      Database::Query row =
          TRY(database.query("SELECT min(role) FROM image_blobs WHERE digest = ?"));
      if (TRY(row.bind(*digest).next())) role = row.integer(0);
    }
    TRY(alone([&] { return store_.move_to_trash(blob_name(*digest)); }));
    lost_.push_back({role == 0   ? LostObject::Kind::kConfig
                     : role == 1 ? LostObject::Kind::kManifest
                                 : LostObject::Kind::kCompressedLayer,
                     *digest, object.reason, false, ""});
  }
  return {};
}

Result<void> Repair::repair_layers(const CheckReport& report) {
  const std::vector<LayerSummary> records = TRY(recorded_layers(store_.database()));
  for (const DamagedObject& object : report.damaged) {
    if (object.kind != "layer") continue;
    for (const LayerSummary& record : records)
      if (record.diff_id.str() == object.name) TRY(repair_layer(record));
  }
  // A step or an image names a layer that has neither record nor (sound) files.
  for (std::string_view sql :
       {"SELECT DISTINCT diff_id FROM image_layers WHERE diff_id NOT IN (SELECT diff_id FROM layers)",
        "SELECT DISTINCT diff_id FROM steps WHERE diff_id NOT IN (SELECT diff_id FROM layers)"}) {
    Database::Query row = TRY(store_.database().query(sql));
    while (TRY(row.next())) {
      const Sha256Digest digest = row.digest(0);
      const bool known = std::any_of(lost_.begin(), lost_.end(),
                                     [&](const LostObject& o) { return o.digest == digest; });
      if (!known)
        lost_.push_back({LostObject::Kind::kLayer, digest, "it has no record", false, ""});
    }
  }
  return {};
}

Result<void> Repair::repair_layer(const LayerSummary& recorded) {
  const LayerHealth health = examine_layer(store_, recorded, true);
  if (health.sound()) return {};  // somebody was faster
  const std::string name = "layers/" + recorded.diff_id.hex();
  const bool from_blob = health.blob_is_sound();
  const bool usable = from_blob || (health.index.empty() && health.tree_is_sound());
  // Without its split file the tree cannot be judged: that is made again first.
  const bool bad_tree = health.has_tree && !health.tree.empty() && health.split.empty();
  if (!usable) {
    TRY(alone([&] { return store_.move_to_trash(name); }));
    lost_.push_back({LostObject::Kind::kLayer, recorded.diff_id, health.reason(), false, ""});
    return {};
  }
  TRY(alone([&]() -> Result<void> {
    if (health.has_blob && !from_blob) TRY(store_.move_to_trash(name + "/blob"));
    if (bad_tree)
      // Its owner may be one of a user namespace.
      TRY(run_with_report(store_.tree_runner(), [&] { return store_.move_to_trash(name + "/tree"); }));
    return {};
  }));
  TRY(rebuild_parts(recorded, health));
  add("rebuilt", "layer", recorded.diff_id.str(), health.reason());
  return health.split.empty() ? Result<void>() : repair_layer(recorded);
}

// From the parts that are sound. Beside whoever uses the layer: everything comes by renames.
Result<void> Repair::rebuild_parts(const LayerSummary& recorded, const LayerHealth& health) {
  Result<LayerPtr> layer = open_layer(store_, recorded.diff_id);
  if (!health.index.empty()) {
    const std::string path = store_.path("layers/" + recorded.diff_id.hex() + "/blob");
    UniqueFd fd = TRY(open_file(path, O_RDONLY | O_NOFOLLOW));
    FdSource source(fd.get(), path);
    ImportOptions options;
    options.expected_diff_id = recorded.diff_id;
    layer = import_layer(store_, source, options);
  }
  TRY(Result<LayerPtr>(layer));
  const LayerSummary& summary = (*layer)->index().summary();
  if (!health.split.empty() && health.index.empty()) {
    Store::Ingest ingest = TRY(store_.new_ingest());
    const std::string fresh = ingest.path() + "/split";
    TRY(write_split((*layer)->index(), (*layer)->blob_path(), fresh));
    if (::rename(fresh.c_str(), (*layer)->split_path().c_str()) != 0)
      return Error::from_errno(errno, "rename to " + (*layer)->split_path());
    TRY(sync_directory((*layer)->directory()));
  }
  Database& database = store_.database();
  Database::Transaction transaction = TRY(database.begin(Database::Access::kWrite));
  {
    Database::Query update = TRY(database.query(
        "UPDATE layers SET content_id = ?, tar_size = ?, content_size = ?, entry_count = ?, "
        "canonical = ? WHERE diff_id = ?"));
    update.bind(summary.content_id).bind(summary.tar_size).bind(summary.content_size);
    TRY(update.bind(summary.entry_count).bind(summary.canonical).bind(recorded.diff_id).run());
  }
  return transaction.commit();
}

Result<std::vector<LostObjectSource>> Repair::sources(const LostObject& object) {
  Database& database = store_.database();
  const bool layer = object.kind == LostObject::Kind::kLayer;
  const std::vector<Sha256Digest> images = TRY(query_digests(
      database,
      layer ? "SELECT DISTINCT image_id FROM image_layers WHERE diff_id = ? ORDER BY 1"
            : "SELECT image_id FROM image_blobs WHERE digest = ? ORDER BY 1",
      object.digest));
  std::vector<LostObjectSource> out;
  for (const Sha256Digest& image : images) {
    LostObjectSource source;
    source.descriptor.digest = object.digest.str();
    std::optional<oci::Manifest> manifest = manifest_of(store_, image);
    if (object.kind != LostObject::Kind::kManifest && !manifest) continue;
    if (object.kind == LostObject::Kind::kConfig) source.descriptor = manifest->config;
    if (layer || object.kind == LostObject::Kind::kCompressedLayer) {
      const std::vector<Sha256Digest> diff_ids = TRY(store_.image_layers(image));
      for (size_t i = 0; i < diff_ids.size() && i < manifest->layers.size(); ++i) {
        const bool wanted = layer ? diff_ids[i] == object.digest
                                  : manifest->layers[i].digest == object.digest.str();
        if (!wanted) continue;
        source.descriptor = manifest->layers[i];
        source.diff_id = diff_ids[i];
        break;
      }
      if (!source.diff_id) continue;
    }
    for (std::string& reference : TRY(digest_references(database, image))) {
      source.reference = std::move(reference);
      out.push_back(source);
    }
  }
  return out;
}

}  // namespace kasane::store
