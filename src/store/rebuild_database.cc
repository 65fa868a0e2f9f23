// A store whose database cannot be used: layers, configs and manifests say by themselves what they
// are, so only names and cached steps depend on what can be read of the old one.
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <map>
#include <thread>

#include "oci/image_config.h"
#include "oci/manifest.h"
#include "store/check_layer.h"
#include "store/database.h"
#include "store/locks.h"
#include "store/repair.h"
#include "store/salvage.h"
#include "store/store_internal.h"
#include "store/tags.h"

namespace kasane::store {
namespace {

constexpr uint64_t kMaxDocumentBytes = 4u << 20;

constexpr std::string_view kProbes[] = {
    "SELECT count(*) FROM layers",      "SELECT count(*) FROM images",
    "SELECT count(*) FROM image_blobs", "SELECT count(*) FROM image_layers",
    "SELECT count(*) FROM tags",        "SELECT count(*) FROM digests",
    "SELECT count(*) FROM steps",       "SELECT count(*) FROM step_scopes",
    "SELECT count(*) FROM tag_platforms"};

Result<bool> is_sound(const std::string& root) {
  const std::string path = root + "/kasane.db";
  struct stat st;
  if (::lstat(path.c_str(), &st) != 0) return !has_objects(root);
  Result<std::unique_ptr<Database>> database = Database::open(path, false);
  if (!database && database.error().kind() == ErrorKind::kCorrupt) return false;
  if (!database) return std::move(database.error());
  if (!*database) return !has_objects(root);  // an empty file
  for (std::string_view sql : kProbes) {
    Result<Database::Query> row = (*database)->query(sql);
    if (!row || !row->next()) return false;
  }
  Result<Database::Query> check = (*database)->query("PRAGMA integrity_check(1)");
  if (!check) return false;
  Result<bool> row = check->next();
  return row && *row && check->text(0) == "ok";
}

// Idempotent: what a rebuild that was killed moved away already stays the source of the next.
Result<void> move_aside(const std::string& path) {
  const std::string aside = path + ".damaged";
  struct stat st;
  if (::lstat(path.c_str(), &st) == 0) {
    for (const char* suffix : {"-wal", "-shm"}) ::unlink((aside + suffix).c_str());
    if (::rename(path.c_str(), aside.c_str()) != 0)
      return Error::from_errno(errno, "move " + path + " aside");
  }
  // A log belongs to its database: beside the new one it would be played back into that.
  if (::rename((path + "-wal").c_str(), (aside + "-wal").c_str()) != 0 && errno != ENOENT)
    return Error::from_errno(errno, "move " + path + "-wal aside");
  ::unlink((path + "-shm").c_str());
  return {};
}

Result<uint64_t> record_layers(Database& database, const std::string& root) {
  uint64_t count = 0;
  for (const std::string& name : TRY(list_directory(root + "/layers"))) {
    const std::optional<Sha256Digest> digest = Sha256Digest::from_hex(name);
    Result<std::shared_ptr<const LayerIndex>> index =
        LayerIndex::open(root + "/layers/" + name + "/index", true);
    if (!digest || !index || (*index)->summary().diff_id != *digest) continue;
    TRY(insert_layer(database, (*index)->summary()));
    ++count;
  }
  return count;
}

struct Documents {
  std::map<Sha256Digest, std::string> configs;    // by image id
  std::map<Sha256Digest, ImageRecord> manifests;  // by image id; the manifest's members only
};

Result<Documents> read_documents(const std::string& root) {
  Documents out;
  const std::string folder = root + "/blobs/sha256/";
  for (const std::string& name : TRY(list_directory(folder))) {
    Result<std::string> text = read_file(folder + name, kMaxDocumentBytes);
    if (!text || sha256(*text).hex() != name) continue;
    if (Result<oci::Manifest> manifest = oci::Manifest::parse(*text)) {
      const std::optional<Sha256Digest> id = Sha256Digest::parse(manifest->config.digest);
      if (!id) continue;
      out.manifests[*id].manifest_json = std::move(*text);
      out.manifests[*id].manifest_media_type =
          manifest->media_type.empty() ? std::string(oci::kMediaTypeManifest) : manifest->media_type;
    } else if (Result<oci::ImageConfig> config = oci::ImageConfig::parse(*text);
               config && !config->architecture.empty() && !config->os.empty()) {
      out.configs[sha256(*text)] = std::move(*text);
    }
  }
  return out;
}

Result<bool> has_layers(Database& database, const std::vector<Sha256Digest>& diff_ids) {
  for (const Sha256Digest& diff_id : diff_ids) {
    Database::Query row = TRY(database.query("SELECT 1 FROM layers WHERE diff_id = ?"));
    if (!TRY(row.bind(diff_id).next())) return false;
  }
  return true;
}

Result<uint64_t> record_images(Database& database, const std::string& root) {
  uint64_t count = 0;
  Documents documents = TRY(read_documents(root));
  for (auto& [id, text] : documents.configs) {
    ImageRecord image;
    if (auto manifest = documents.manifests.find(id); manifest != documents.manifests.end())
      image = manifest->second;
    image.diff_ids = TRY(oci::ImageConfig::parse(text)).diff_ids;
    image.config_json = text;
    if (!TRY(has_layers(database, image.diff_ids))) continue;
    if (Result<void> inserted = insert_image_record(database, image); !inserted) {
      if (inserted.error().kind() != ErrorKind::kInvalid) return std::move(inserted.error());
      continue;  // the manifest is of another image
    }
    ++count;
  }
  return count;
}

std::string numbers(const Salvaged& salvaged, uint64_t layers, uint64_t images) {
  return std::to_string(salvaged.rows) + " rows were read from the damaged one, " +
         std::to_string(layers) + " layers and " + std::to_string(images) +
         " images were found; it is kept as kasane.db.damaged";
}

Result<RepairAction> rebuild(const std::string& root) {
  const std::string path = root + "/kasane.db", fresh = path + ".rebuilt";
  TRY(move_aside(path));
  for (const char* suffix : {"", "-wal", "-shm"}) ::unlink((fresh + suffix).c_str());
  TRY(Database::create(fresh));
  const Salvaged salvaged = TRY(salvage_rows(path + ".damaged", fresh));
  uint64_t layers = 0, images = 0;
  {
    std::unique_ptr<Database> database = TRY(Database::open(fresh, false));
    Database::Transaction transaction = TRY(database->begin(Database::Access::kWrite));
    layers = TRY(record_layers(*database, root));
    if (!salvaged.all_images) images = TRY(record_images(*database, root));
    TRY(transaction.commit());
  }  // folds the log into the file
  UniqueFd file = TRY(open_file(fresh, O_RDONLY));
  TRY(sync_fd(file.get(), fresh));
  if (::rename(fresh.c_str(), path.c_str()) != 0)
    return Error::from_errno(errno, "rename to " + path);
  TRY(sync_directory(root));
  return RepairAction{"rebuilt", "database", "kasane.db", numbers(salvaged, layers, images)};
}

}  // namespace

Result<std::vector<RepairAction>> rebuild_database(const OpenOptions& options) {
  std::vector<RepairAction> out;
  // Refuses what no command may touch: stores of others and of newer versions.
  if (Result<std::unique_ptr<Store>> store = Store::open(options);
      !store && store.error().kind() != ErrorKind::kCorrupt)
    return std::move(store.error());
  struct stat st;
  if (::lstat(options.root.c_str(), &st) != 0 || TRY(is_sound(options.root))) return out;
  Locks locks(options.root, options.lock_timeout_ms);
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(options.lock_timeout_ms);
  auto work = [&]() -> Result<void> {
    if (TRY(is_sound(options.root))) return {};  // somebody was faster
    out.push_back(TRY(rebuild(options.root)));
    return {};
  };
  while (!TRY(locks.with_exclusive(work))) {
    if (std::chrono::steady_clock::now() >= end)
      return Error(ErrorKind::kConflict,
                   "the store " + options.root + " is in use by other kasane processes")
          .hint("repair it when they have ended");
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return out;
}

}  // namespace kasane::store
