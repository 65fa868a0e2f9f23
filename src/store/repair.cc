#include "store/repair.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "oci/image_config.h"
#include "store/build_records.h"
#include "store/database.h"
#include "store/locks.h"
#include "store/repair_internal.h"
#include "store/store_internal.h"
#include "store/tags.h"

namespace kasane::store {
namespace {

constexpr auto kWaitForOthers = std::chrono::seconds(60);

std::string name_of_kind(LostObject::Kind kind) {
  return kind == LostObject::Kind::kLayer ? "layer" : "blob";
}

std::string why(const LostObject& object) {
  const std::string what = name_of_kind(object.kind) + " " + object.digest.str();
  return what + " is damaged (" + object.reason + ") and " +
         (object.why_not.empty() ? "no registry is known to have it"
                                 : "could not be fetched: " + object.why_not);
}

}  // namespace

Result<std::vector<Sha256Digest>> query_digests(Database& database, std::string_view sql,
                                                const Sha256Digest& parameter) {
  std::vector<Sha256Digest> out;
  Database::Query row = TRY(database.query(sql));
  row.bind(parameter);
  while (TRY(row.next())) out.push_back(row.digest(0));
  return out;
}

// The exclusive lock is only ever tried for, so that whoever waits for it blocks nobody.
Result<void> Repair::alone(const std::function<Result<void>()>& work) {
  const auto end = std::chrono::steady_clock::now() + kWaitForOthers;
  while (!TRY(store_.locks().with_exclusive(work))) {
    if (std::chrono::steady_clock::now() >= end)
      return Error(ErrorKind::kConflict,
                   "the store " + store_.root() + " is in use by other kasane processes")
          .hint("repair it when they have ended; nothing that they use was touched");
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return {};
}

Result<std::unique_ptr<Repair>> Repair::begin(Store& store) {
  std::unique_ptr<Repair> repair(new Repair(store));
  CheckReport report = TRY(store.check({}));
  if (report.damaged.empty()) return repair;
  TRY(store.ensure_writable());
  if (TRY(repair->repair_records())) report = TRY(store.check({}));
  TRY(repair->repair_blobs(report));
  TRY(repair->repair_layers(report));
  TRY(repair->repair_images(report));
  TRY(repair->repair_small_files(report));
  std::stable_sort(repair->lost_.begin(), repair->lost_.end(),
                   [](const LostObject& a, const LostObject& b) { return a.kind < b.kind; });
  store.empty_trash();
  return repair;
}

void Repair::restored(size_t i, const std::string& action, const std::string& where) {
  lost_[i].restored = true;
  add(action, name_of_kind(lost_[i].kind), lost_[i].digest.str(), where);
}

Result<void> Repair::repair_images(const CheckReport& report) {
  for (const DamagedObject& object : report.damaged) {
    const std::optional<Sha256Digest> id = Sha256Digest::parse(object.name);
    if (object.kind != "image" || !id) continue;
    Result<std::string> config = store_.image_config(*id);
    if (!config) continue;  // its config is damaged: that is the object to repair
    Result<oci::ImageConfig> parsed = oci::ImageConfig::parse(*config);
    if (!parsed) continue;
    Database::Transaction transaction =
        TRY(store_.database().begin(Database::Access::kWrite));
    Result<void> rewritten = rewrite_image(store_.database(), *config);
    if (!rewritten && rewritten.error().kind() == ErrorKind::kNotFound) continue;  // a lost layer
    TRY(Result<void>(std::move(rewritten)));
    TRY(transaction.commit());
    add("rebuilt", "image", object.name, object.reason);
  }
  return {};
}

Result<void> Repair::repair_small_files(const CheckReport& report) {
  for (const DamagedObject& object : report.damaged) {
    const bool record = object.kind == "build record";
    if (!record && object.kind != "cache mount") continue;
    // Nothing can bring them back, and nothing needs them: the next build makes new ones.
    TRY(alone([&] { return store_.move_to_trash((record ? "builds/" : "mounts/") + object.name); }));
    add("dropped", object.kind, object.name, object.reason);
  }
  return {};
}

Result<void> Repair::drop_image(const Sha256Digest& image, const std::string& reason) {
  Result<RemovedImage> removed = store_.remove_image(image);
  if (!removed && removed.error().kind() == ErrorKind::kNotFound) return {};  // dropped before
  TRY(Result<RemovedImage>(removed));
  std::string names;
  for (const std::string& reference : removed->untagged)
    names += (names.empty() ? " (" : ", ") + oci::familiar(reference);
  if (!names.empty()) names += ")";
  add("dropped", "image", image.str() + names, reason);
  return {};
}

Result<void> Repair::drop_layer(const LostObject& object) {
  Database& database = store_.database();
  for (const Sha256Digest& image :
       TRY(query_digests(database, "SELECT DISTINCT image_id FROM image_layers WHERE diff_id = ?",
                         object.digest)))
    TRY(drop_image(image, why(object)));
  Database::Transaction transaction = TRY(database.begin(Database::Access::kWrite));
  int64_t steps = 0;
  for (const char* sql :
       {"DELETE FROM step_scopes WHERE key IN (SELECT key FROM steps WHERE diff_id = ?)",
        "DELETE FROM steps WHERE diff_id = ?", "DELETE FROM layers WHERE diff_id = ?"}) {
    Database::Query query = TRY(database.query(sql));
    TRY(query.bind(object.digest).run());
    if (std::string_view(sql).find("FROM steps W") != std::string_view::npos)
      steps = database.changed_rows();
  }
  TRY(transaction.commit());
  add("dropped", "layer", object.digest.str(),
      object.reason + (steps > 0 ? "; cached steps that made it: " + std::to_string(steps) : ""));
  return {};
}

// An image can do without: it keeps its layers and its config, a push writes a new one.
Result<void> Repair::drop_manifest(const LostObject& object) {
  Database& database = store_.database();
  const std::vector<Sha256Digest> images =
      TRY(query_digests(database, "SELECT image_id FROM image_blobs WHERE digest = ? AND role = 1",
                        object.digest));
  Database::Transaction transaction = TRY(database.begin(Database::Access::kWrite));
  for (const Sha256Digest& image : images)
    for (const char* sql : {"DELETE FROM image_blobs WHERE image_id = ? AND role <> 0",
                            "UPDATE images SET manifest_media_type = '' WHERE id = ?"}) {
      Database::Query query = TRY(database.query(sql));
      TRY(query.bind(image).run());
    }
  TRY(transaction.commit());
  add("dropped", "blob", object.digest.str(), "manifest: " + why(object));
  return {};
}

Result<void> Repair::finish() {
  for (const LostObject& object : lost_) {
    if (object.restored) continue;
    switch (object.kind) {
      case LostObject::Kind::kManifest:
        TRY(drop_manifest(object));
        break;
      case LostObject::Kind::kConfig:
        TRY(drop_image(object.digest, why(object)));
        break;
      case LostObject::Kind::kLayer:
        TRY(drop_layer(object));
        break;
      case LostObject::Kind::kCompressedLayer:
        add("dropped", "blob", object.digest.str(),
            "compressed copy of a layer that is sound: " + object.reason);
        break;
    }
  }
  return {};
}

}  // namespace kasane::store
