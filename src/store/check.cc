// `kasane store check`: is everything that the records reach there, and is it what its
// digest says? Nothing is changed.
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <unordered_set>

#include "oci/image_config.h"
#include "store/check_tree.h"
#include "store/database.h"
#include "store/layer.h"
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
  Result<void> check_index(const LayerSummary& recorded, const LayerIndex& index) const;
  Result<void> check_bodies(const Layer& layer);
  Result<void> check_image(const Sha256Digest& id);
  Result<void> read_all(Result<std::unique_ptr<ByteSource>> source);

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

Result<void> Checker::read_all(Result<std::unique_ptr<ByteSource>> source) {
  if (!source) return std::move(source.error());
  HashingSink counter(nullptr);
  Result<uint64_t> size = copy_stream(**source, counter);
  if (!size) return std::move(size.error());
  report_.bytes_read += *size;
  return {};
}

Result<void> Checker::check_index(const LayerSummary& recorded, const LayerIndex& index) const {
  const LayerSummary& found = index.summary();
  bool same = found.diff_id == recorded.diff_id && found.content_id == recorded.content_id &&
              found.tar_size == recorded.tar_size && found.content_size == recorded.content_size &&
              found.entry_count == recorded.entry_count && found.canonical == recorded.canonical;
  if (!same) return Error(ErrorKind::kCorrupt, "its index and its record disagree");
  return {};
}

// Both bodies where there are two: each is used for something.
Result<void> Checker::check_bodies(const Layer& layer) {
  if (!layer.has_blob() && !layer.has_tree())
    return Error(ErrorKind::kCorrupt, "neither its tar nor its tree is there");
  if (layer.has_blob()) {
    struct stat st;
    if (::lstat(layer.blob_path().c_str(), &st) != 0 || !S_ISREG(st.st_mode) ||
        static_cast<uint64_t>(st.st_size) != layer.index().summary().tar_size)
      return Error(ErrorKind::kCorrupt, "its tar has the wrong size");
    if (options_.deep) TRY(read_all(layer.open_tar()));
  }
  if (layer.has_tree()) {
    TRY(check_tree(layer, store_.tree_runner()));
    if (options_.deep) TRY(read_all(open_tar_from_tree(layer, store_.tree_runner())));
  }
  return {};
}

void Checker::check_layer(const LayerSummary& recorded) {
  auto check = [&]() -> Result<void> {
    LayerPtr layer = TRY(open_layer(store_, recorded.diff_id));
    if (options_.deep) TRY(LayerIndex::open(layer->directory() + "/index", true));
    TRY(check_index(recorded, layer->index()));
    return check_bodies(*layer);
  };
  if (Result<void> result = check(); !result)
    damaged("layer", recorded.diff_id.str(), result.error().full_message());
}

Result<void> Checker::check_layers() {
  std::vector<LayerSummary> records;
  {
    Database::Query row = TRY(database_.query(
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
  }
  for (const LayerSummary& record : records) check_layer(record);
  report_.layers = records.size();
  return {};
}

Result<void> Checker::check_image(const Sha256Digest& id) {
  std::vector<Sha256Digest> layers = TRY(store_.image_layers(id));
  Result<std::string> text = store_.image_config(id);
  // A missing or damaged config has been reported as a blob; the image is named as well.
  oci::ImageConfig config = TRY(oci::ImageConfig::parse(TRY(std::move(text))));
  if (config.diff_ids != layers)
    return Error(ErrorKind::kCorrupt, "its config and its record name different layers");
  return {};
}

Result<void> Checker::check_images() {
  std::vector<Sha256Digest> ids;
  {
    Database::Query row = TRY(database_.query("SELECT id FROM images"));
    while (TRY(row.next())) ids.push_back(row.digest(0));
  }
  for (const Sha256Digest& id : ids)
    if (Result<void> result = check_image(id); !result)
      damaged("image", id.str(), result.error().full_message());
  report_.images = ids.size();
  return {};
}

}  // namespace

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
  return report;
}

}  // namespace kasane::store
