// Database: façade over SQLite. One connection per Store, shared by its threads: every
// Query and Transaction holds the connection's (recursive) mutex while it lives, so keep
// them short and never pass them to another thread. SQLite's codes become Errors here:
// FULL → kNoSpace, READONLY → kPermission, CORRUPT/NOTADB → kCorrupt, BUSY → kConflict.
#pragma once

#include <atomic>
#include <concepts>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/hash.h"
#include "base/result.h"

struct sqlite3;
struct sqlite3_stmt;

namespace kasane::store {

class Database {
 public:
  static constexpr int kSchemaVersion = 2;
  static constexpr int kBusyTimeoutMs = 30'000;

  // nullptr when the file has no schema yet (another process is just creating it).
  // kUnsupported when a newer kasane wrote it. No table is touched: tables that an older
  // one did not have look empty until migrate().
  static Result<std::unique_ptr<Database>> open(const std::string& path, bool read_only);
  // Makes file and schema. The caller holds the creation lock, knows that there is no
  // database, and syncs the directory.
  static Result<std::unique_ptr<Database>> create(const std::string& path);
  ~Database();
  // Brings the tables of an older kasane up to date, in one durable transaction. Cheap when
  // there is nothing to do. To be called before the first write and outside of any
  // transaction; other processes may do the same at the same time.
  Result<void> migrate();

  struct Cached {
    sqlite3_stmt* statement = nullptr;
    bool in_use = false;
  };

  // One use of a cached prepared statement. Parameters are bound in order.
  class Query {
   public:
    Query(Query&& other) noexcept;
    Query& operator=(Query&&) = delete;
    ~Query();
    Query& bind(const Sha256Digest& digest);
    Query& bind(std::string_view text);
    Query& bind_blob(std::string_view bytes);
    Query& bind(std::integral auto number) { return bind_integer(static_cast<int64_t>(number)); }
    // True while there is a row; columns are valid until the next call.
    Result<bool> next();
    Result<void> run();  // for statements without rows
    int64_t integer(int column) const;
    std::string text(int column) const;     // also raw bytes of a blob
    Sha256Digest digest(int column) const;  // all zero when the column is no digest

   private:
    friend class Database;
    Query(Database& database, sqlite3_stmt* statement, Cached* cached);
    Query& bind_integer(int64_t number);
    Database* database_;
    sqlite3_stmt* statement_;
    Cached* cached_;  // nullptr: a second use of the same SQL at once; finalized
    int bound_ = 0;
    std::unique_lock<std::recursive_mutex> lock_;
  };
  // `sql` must live as long as the database (a literal).
  Result<Query> query(std::string_view sql);
  int64_t changed_rows() const;

  // kWrite is durable when commit() returns. kWriteCache is not, until the next durable
  // commit or the end of the process: for layers and steps, which a crash may forget.
  enum class Access { kRead, kWriteCache, kWrite };
  // Write transactions are IMMEDIATE: they wait up to kBusyTimeoutMs for the one writer,
  // and what they read stays true until commit(). Without commit(): rolled back.
  class Transaction {
   public:
    Transaction(Transaction&& other) noexcept;
    Transaction& operator=(Transaction&&) = delete;
    ~Transaction();
    Result<void> commit();

   private:
    friend class Database;
    explicit Transaction(Database& database);
    Database* database_;
    std::unique_lock<std::recursive_mutex> lock_;
  };
  Result<Transaction> begin(Access access);

 private:
  explicit Database(std::string path) : path_(std::move(path)) {}
  Result<void> connect(const std::string& name, int flags);
  Result<int> schema_version();
  Result<void> connect_for_reading();
  Result<void> upgrade();
  Result<void> execute(const char* sql);
  Error error(int code, std::string_view doing) const;

  std::string path_;
  sqlite3* handle_ = nullptr;
  std::recursive_mutex mutex_;
  std::unordered_map<std::string_view, Cached> statements_;
  Access level_ = Access::kRead;
  std::atomic<bool> outdated_ = false;  // the file has (or had when it was opened) an older schema
};

}  // namespace kasane::store
