// Repair of rows that contradict each other or the files.
#include "store/check_layer.h"
#include "store/check_records.h"
#include "store/database.h"
#include "store/repair.h"

namespace kasane::store {
namespace {

struct Cleaning {
  const char* find;  // name of what goes (column 0)
  const char* kind;
  const char* reason;
  std::vector<const char*> remove;
};

// In this order: what is removed first refers to what is removed later.
const Cleaning kCleanings[] = {
    {"SELECT DISTINCT reference FROM tag_platforms WHERE image_id NOT IN (SELECT id FROM images) "
     "OR reference NOT IN (SELECT reference FROM tags)",
     "tag",
     "names images of platforms that are not in the store",
     {"DELETE FROM tag_platforms WHERE image_id NOT IN (SELECT id FROM images) OR reference NOT IN "
      "(SELECT reference FROM tags)"}},
    {"SELECT reference FROM tags WHERE image_id NOT IN (SELECT id FROM images)",
     "tag",
     "its image is not in the store",
     {"DELETE FROM tag_platforms WHERE reference IN (SELECT reference FROM tags WHERE image_id NOT "
      "IN (SELECT id FROM images))",
      "DELETE FROM tags WHERE image_id NOT IN (SELECT id FROM images)"}},
    {"SELECT reference FROM digests WHERE image_id NOT IN (SELECT id FROM images)",
     "tag",
     "its image is not in the store",
     {"DELETE FROM digests WHERE image_id NOT IN (SELECT id FROM images)"}},
    {"SELECT scope FROM step_scopes WHERE key NOT IN (SELECT key FROM steps)",
     "step",
     "its record is gone",
     {"DELETE FROM step_scopes WHERE key NOT IN (SELECT key FROM steps)"}},
    {"SELECT DISTINCT hex(image_id) FROM image_layers WHERE image_id NOT IN (SELECT id FROM images)",
     "image",
     "layers of an image without record",
     {"DELETE FROM image_layers WHERE image_id NOT IN (SELECT id FROM images)"}},
    {"SELECT DISTINCT hex(image_id) FROM image_blobs WHERE image_id NOT IN (SELECT id FROM images)",
     "image",
     "blobs of an image without record",
     {"DELETE FROM image_blobs WHERE image_id NOT IN (SELECT id FROM images)"}},
};

Result<void> run(Database& database, std::string_view sql, const std::string& parameter) {
  Database::Query query = TRY(database.query(sql));
  return query.bind(parameter).run();
}

// Layers that steps or images name, whose record is gone, but whose index is there and sound.
Result<std::vector<Sha256Digest>> record_again(Store& store) {
  Database& database = store.database();
  std::vector<Sha256Digest> missing, out;
  {
    Database::Query row = TRY(
        database.query("SELECT diff_id FROM image_layers UNION SELECT diff_id FROM steps EXCEPT "
                       "SELECT diff_id FROM layers"));
    while (TRY(row.next())) missing.push_back(row.digest(0));
  }
  for (const Sha256Digest& diff_id : missing) {
    Result<std::shared_ptr<const LayerIndex>> index =
        LayerIndex::open(store.path("layers/" + diff_id.hex() + "/index"), true);
    if (!index || (*index)->summary().diff_id != diff_id) continue;
    TRY(store.register_layer((*index)->summary()));
    out.push_back(diff_id);
  }
  return out;
}

}  // namespace

Result<bool> Repair::repair_records() {
  const size_t before = actions_.size();
  Database& database = store_.database();
  for (const Sha256Digest& diff_id : TRY(record_again(store_)))
    add("rebuilt", "layer", diff_id.str(), "it had no record");
  const std::vector<DamagedObject> malformed = TRY(malformed_names(database));
  Database::Transaction transaction = TRY(database.begin(Database::Access::kWrite));
  for (const DamagedObject& name : malformed) {
    for (std::string_view sql :
         {"DELETE FROM tag_platforms WHERE reference = ?", "DELETE FROM tags WHERE reference = ?",
          "DELETE FROM digests WHERE reference = ?"})
      TRY(run(database, sql, name.name));
    add("dropped", name.kind, name.name, name.reason);
  }
  for (const Cleaning& cleaning : kCleanings) {
    bool any = false;
    {
      Database::Query row = TRY(database.query(cleaning.find));
      for (; TRY(row.next()); any = true)
        add("dropped", cleaning.kind, row.text(0), cleaning.reason);
    }
    if (!any) continue;
    for (const char* sql : cleaning.remove) {
      Database::Query query = TRY(database.query(sql));
      TRY(query.run());
    }
  }
  TRY(transaction.commit());
  return actions_.size() != before;
}

}  // namespace kasane::store
