// `kasane store check`: is everything that the records reach there, and is it what its
// digest says? Nothing is changed.
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <unordered_set>

#include "store/check_layer.h"
#include "store/check_records.h"
#include "store/database.h"
#include "store/locks.h"
#include "store/store.h"
#include "store/store_internal.h"

namespace kasane::store {
namespace {

using DigestSet = std::unordered_set<Sha256Digest, Sha256DigestHash>;

class Checker {
 public:
  Checker(Store& store, Database& database, const CheckOptions& options, CheckReport& report)
      : store_(store), database_(database), options_(options), report_(report) {}

  Result<void> check_database();
  Result<void> check_references();
  Result<void> check_blobs();
  Result<void> check_layers();
  Result<void> check_images();

 private:
  void damaged(std::string kind, std::string name, std::string reason) {
    report_.damaged.push_back({std::move(kind), std::move(name), std::move(reason)});
  }
  Result<DigestSet> recorded_blobs();
  void check_blob_file(const std::string& name);
  void check_layer(const LayerSummary& recorded);

  Store& store_;
  Database& database_;
  const CheckOptions& options_;
  CheckReport& report_;
};

Result<void> Checker::check_database() {
  Database::Query row =
      TRY(database_.query(options_.deep ? "PRAGMA integrity_check(20)" : "PRAGMA quick_check(20)"));
  while (TRY(row.next()))
    if (row.text(0) != "ok") damaged("database", "kasane.db", row.text(0));
  return {};
}

Result<void> Checker::check_references() {
  for (const char* sql :
       {"SELECT reference FROM tags WHERE image_id NOT IN (SELECT id FROM images)",
        "SELECT reference FROM digests WHERE image_id NOT IN (SELECT id FROM images)",
        "SELECT reference || ' (' || platform || ')' FROM tag_platforms WHERE image_id NOT IN "
        "(SELECT id FROM images)"}) {
    Database::Query row = TRY(database_.query(sql));
    while (TRY(row.next())) damaged("tag", row.text(0), "its image is not in the store");
  }
  Database::Query platform =
      TRY(database_.query("SELECT DISTINCT reference FROM tag_platforms WHERE reference NOT IN "
                          "(SELECT reference FROM tags)"));
  while (TRY(platform.next()))
    damaged("tag", platform.text(0), "names images of platforms, but is no tag");
  Database::Query scope = TRY(
      database_.query("SELECT scope FROM step_scopes WHERE key NOT IN (SELECT key FROM steps)"));
  while (TRY(scope.next()))
    damaged("database", "kasane.db", "the last step of \"" + scope.text(0) + "\" has no record");
  Database::Query layer = TRY(
      database_.query("SELECT DISTINCT image_id, diff_id FROM image_layers WHERE diff_id NOT IN "
                      "(SELECT diff_id FROM layers)"));
  while (TRY(layer.next()))
    damaged("image", layer.digest(0).str(),
            "its layer " + layer.digest(1).str() + " has no record");
  Database::Query step = TRY(database_.query(
      "SELECT DISTINCT diff_id FROM steps WHERE diff_id NOT IN (SELECT diff_id FROM layers)"));
  while (TRY(step.next()))
    damaged("layer", step.digest(0).str(), "a cached step uses it, but it has no record");
  Database::Query orphan = TRY(
      database_.query("SELECT image_id FROM image_layers WHERE image_id NOT IN (SELECT id FROM "
                      "images) UNION SELECT image_id FROM image_blobs WHERE image_id NOT IN "
                      "(SELECT id FROM images)"));
  while (TRY(orphan.next())) damaged("image", orphan.digest(0).str(), "it has no record");
  std::vector<DamagedObject> names = TRY(malformed_names(database_));
  for (DamagedObject& name : names) report_.damaged.push_back(std::move(name));
  return {};
}

// Presence and size of what images need; role 2 (compressed layers) may be absent.
Result<DigestSet> Checker::recorded_blobs() {
  DigestSet out;
  Database::Query row =
      TRY(database_.query("SELECT digest, min(role), max(size) FROM image_blobs GROUP BY digest"));
  while (TRY(row.next())) {
    Sha256Digest digest = row.digest(0);
    struct stat st;
    if (::lstat(store_.path("blobs/sha256/" + digest.hex()).c_str(), &st) != 0) {
      if (row.integer(1) != 2) damaged("blob", digest.str(), "the file is missing");
      continue;
    }
    out.insert(digest);
    if (!S_ISREG(st.st_mode)) {
      damaged("blob", digest.str(), "not a plain file");
    } else if (st.st_size != row.integer(2)) {
      damaged("blob", digest.str(),
              "has " + std::to_string(st.st_size) + " bytes instead of " +
                  std::to_string(row.integer(2)));
    } else {
      continue;
    }
    out.erase(digest);  // reported already
  }
  return out;
}

void Checker::check_blob_file(const std::string& name) {
  std::string file = store_.path("blobs/sha256/" + name);
  Result<UniqueFd> fd = open_file(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  HashingSink hash(nullptr);
  Result<uint64_t> size = fd ? [&] {
    FdSource source(fd->get(), file);
    return copy_stream(source, hash);
  }()
                             : Result<uint64_t>(fd.error());
  if (!size) return damaged("blob", "sha256:" + name, size.error().full_message());
  report_.bytes_read += *size;
  if (hash.finish().hex() != name)
    damaged("blob", "sha256:" + name, "its content has another digest");
}

Result<void> Checker::check_blobs() {
  DigestSet sound = TRY(recorded_blobs());
  report_.blobs = sound.size();
  if (!options_.deep) return {};
  for (const Sha256Digest& digest : sound) check_blob_file(digest.hex());
  return {};
}

void Checker::check_layer(const LayerSummary& recorded) {
  const LayerHealth health = examine_layer(store_, recorded, options_.deep);
  report_.bytes_read += health.bytes_read;
  if (!health.sound()) damaged("layer", recorded.diff_id.str(), health.reason());
}

Result<void> Checker::check_layers() {
  const std::vector<LayerSummary> records = TRY(recorded_layers(database_));
  for (const LayerSummary& record : records) check_layer(record);
  report_.layers = records.size();
  return {};
}

Result<void> Checker::check_images() {
  std::vector<Sha256Digest> ids;
  {
    Database::Query row = TRY(database_.query("SELECT id FROM images"));
    while (TRY(row.next())) ids.push_back(row.digest(0));
  }
  for (const Sha256Digest& id : ids) {
    Result<void> result = check_image_record(store_, id);
    // Removed since: only its record, for this store is held.
    if (result || result.error().kind() == ErrorKind::kNotFound) continue;
    damaged("image", id.str(), result.error().full_message());
  }
  report_.images = ids.size();
  return {};
}

}  // namespace

Result<std::vector<LayerSummary>> recorded_layers(Database& database) {
  std::vector<LayerSummary> records;
  Database::Query row = TRY(database.query(
      "SELECT diff_id, content_id, tar_size, content_size, entry_count, canonical FROM layers"));
  while (TRY(row.next())) {
    LayerSummary summary;
    summary.diff_id = row.digest(0);
    summary.content_id = row.digest(1);
    summary.tar_size = static_cast<uint64_t>(row.integer(2));
    summary.content_size = static_cast<uint64_t>(row.integer(3));
    summary.entry_count = static_cast<uint64_t>(row.integer(4));
    summary.canonical = row.integer(5) != 0;
    records.push_back(summary);
  }
  return records;
}

// Unreachable files count only while nobody holds the store: a live build may just be about
// to record them.
uint64_t Store::count_leftovers() {
  uint64_t count = 0;
  auto names = [&](const char* folder) {
    Result<std::vector<std::string>> list = list_directory(path(folder));
    return list ? std::move(*list) : std::vector<std::string>();
  };
  count += names("trash").size();
  for (const std::string& name : names("ingest")) {
    Result<std::optional<FileLock>> lock =
        FileLock::try_lock(path("ingest/" + name + "/lock"), FileLock::Mode::kExclusive);
    if (!lock || *lock) ++count;
  }
  auto unreachable = [&](const char* folder, std::string_view sql) -> Result<void> {
    for (const std::string& name : names(folder)) {
      std::optional<Sha256Digest> digest = Sha256Digest::from_hex(name);
      bool reached = false;
      if (digest) {
        Database::Query row = TRY(database_->query(sql));
        reached = TRY(row.bind(*digest).next());
      }
      if (!reached) ++count;
    }
    return {};
  };
  auto both = [&]() -> Result<void> {
    TRY(unreachable("layers",
                    "SELECT 1 FROM layers l WHERE diff_id = ? AND (EXISTS(SELECT 1 FROM "
                    "image_layers i WHERE i.diff_id = l.diff_id) OR EXISTS(SELECT 1 FROM steps s "
                    "WHERE s.diff_id = l.diff_id))"));
    return unreachable("blobs/sha256", "SELECT 1 FROM image_blobs WHERE digest = ?");
  };
  (void)locks_->with_exclusive(both).has_value();
  return count;
}

Result<CheckReport> Store::check(const CheckOptions& options) {
  CheckReport report;
  Database* database = TRY(reader());
  if (!database) return report;
  report.leftovers = count_leftovers();
  TRY(hold());
  Checker checker(*this, *database, options, report);
  auto part = [&](Result<void> result) {
    if (!result) report.damaged.push_back({"database", "kasane.db", result.error().full_message()});
  };
  part(checker.check_database());
  part(checker.check_references());
  part(checker.check_blobs());
  part(checker.check_layers());
  part(checker.check_images());
  for (DamagedObject& object : damaged_small_files(*this))
    report.damaged.push_back(std::move(object));
  return report;
}

}  // namespace kasane::store
