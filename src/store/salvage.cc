#include "store/salvage.h"

#include <sqlite3.h>

#include <memory>
#include <string_view>

namespace kasane::store {
namespace {

struct Table {
  std::string_view name;
  std::string_view key;  // to read it from its end as well, up to what is damaged
};

constexpr Table kTables[] = {{"layers", "diff_id"},
                             {"images", "id"},
                             {"image_layers", "image_id, position"},
                             {"image_blobs", "image_id, digest"},
                             {"tags", "reference"},
                             {"digests", "reference"},
                             {"steps", "rowid"},
                             {"step_scopes", "scope"},
                             {"tag_platforms", "reference, platform"}};

struct Close {
  void operator()(sqlite3* handle) const { sqlite3_close_v2(handle); }
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using Handle = std::unique_ptr<sqlite3, Close>;
using Statement = std::unique_ptr<sqlite3_stmt, Close>;

Handle open_file(const std::string& path) {
  sqlite3* raw = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &raw, SQLITE_OPEN_READWRITE, nullptr);
  Handle handle(raw);
  if (code != SQLITE_OK) return nullptr;
  // The damaged one is a file from who knows where.
  sqlite3_db_config(raw, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(raw, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  sqlite3_db_config(raw, SQLITE_DBCONFIG_ENABLE_FKEY, 0, nullptr);
  return handle;
}

Statement prepare(sqlite3* handle, const std::string& sql) {
  sqlite3_stmt* raw = nullptr;
  sqlite3_prepare_v2(handle, sql.c_str(), -1, &raw, nullptr);
  return Statement(raw);
}

Error target_error(sqlite3* target, const std::string& what) {
  const bool full = (sqlite3_errcode(target) & 0xff) == SQLITE_FULL;
  return Error(full ? ErrorKind::kNoSpace : ErrorKind::kIo, what + ": " + sqlite3_errmsg(target));
}

class Copier {
 public:
  Copier(sqlite3* from, sqlite3* to) : from_(from), to_(to) {}

  // True when the table was read to its end.
  Result<bool> copy(const Table& table) {
    const std::string select = "SELECT * FROM " + std::string(table.name) + " NOT INDEXED";
    if (TRY(copy_rows(table, select))) return true;
    TRY(copy_rows(table, select + " ORDER BY " + descending(table.key)));
    return false;
  }
  uint64_t rows() const { return rows_; }

 private:
  static std::string descending(std::string_view key) {
    std::string out(key);
    for (size_t comma = out.find(','); comma != std::string::npos; comma = out.find(',', comma + 6))
      out.insert(comma, " DESC");
    return out + " DESC";
  }

  Result<bool> copy_rows(const Table& table, const std::string& sql) {
    Statement read = prepare(from_, sql);
    if (!read) return false;
    const int columns = sqlite3_column_count(read.get());
    std::string values = "?";
    for (int i = 1; i < columns; ++i) values += ", ?";
    Statement write = prepare(
        to_, "INSERT OR IGNORE INTO " + std::string(table.name) + " VALUES(" + values + ")");
    if (!write) return false;  // not a table of ours
    int code;
    while ((code = sqlite3_step(read.get())) == SQLITE_ROW) {
      for (int i = 0; i < columns; ++i)
        sqlite3_bind_value(write.get(), i + 1, sqlite3_column_value(read.get(), i));
      const int written = sqlite3_step(write.get());
      // A row that the schema does not allow (NULL) is damaged; anything else is our disk.
      if (written != SQLITE_DONE && (written & 0xff) != SQLITE_CONSTRAINT)
        return target_error(to_, "write the new database");
      rows_ += static_cast<uint64_t>(sqlite3_changes(to_));
      sqlite3_reset(write.get());
    }
    return code == SQLITE_DONE;
  }

  sqlite3* from_;
  sqlite3* to_;
  uint64_t rows_ = 0;
};

}  // namespace

Result<Salvaged> salvage_rows(const std::string& damaged, const std::string& target) {
  Salvaged out;
  Handle from = open_file(damaged), to = open_file(target);
  if (!from) return out;
  if (!to) return Error(ErrorKind::kIo, "cannot open " + target);
  if (sqlite3_exec(to.get(), "BEGIN", nullptr, nullptr, nullptr) != SQLITE_OK)
    return target_error(to.get(), "write " + target);
  Copier copier(from.get(), to.get());
  for (const Table& table : kTables) {
    const bool complete = TRY(copier.copy(table));
    if (table.name == "images") out.all_images = complete;
  }
  if (sqlite3_exec(to.get(), "COMMIT", nullptr, nullptr, nullptr) != SQLITE_OK)
    return target_error(to.get(), "write " + target);
  out.rows = copier.rows();
  return out;
}

}  // namespace kasane::store
