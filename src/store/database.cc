#include "store/database.h"

#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/fd.h"
#include "store/schema.h"

namespace kasane::store {
namespace {

constexpr char kSpaceHint[] = "free some space, for example with `kasane image prune`";

// The URI form, in which '?' and '#' would start options.
std::string immutable_uri(const std::string& path) {
  std::string out = "file:";
  for (char c : path) {
    if (c == '%')
      out += "%25";
    else if (c == '?')
      out += "%3f";
    else if (c == '#')
      out += "%23";
    else
      out += c;
  }
  return out + "?immutable=1";
}

std::string set_version() {
  return "PRAGMA user_version = " + std::to_string(Database::kSchemaVersion);
}

ErrorKind kind_of(int code) {
  switch (code & 0xff) {
    case SQLITE_FULL:
      return ErrorKind::kNoSpace;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return ErrorKind::kPermission;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return ErrorKind::kCorrupt;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return ErrorKind::kConflict;
    case SQLITE_MISUSE:
    case SQLITE_RANGE:
    case SQLITE_ERROR:
    case SQLITE_CONSTRAINT:
      return ErrorKind::kInternal;
    default:
      return ErrorKind::kIo;
  }
}

}  // namespace

Error Database::error(int code, std::string_view doing) const {
  std::string what = std::string(doing) + " " + path_;
  int primary = code & 0xff;
  if (primary == SQLITE_IOERR || primary == SQLITE_CANTOPEN) {
    if (int number = handle_ ? sqlite3_system_errno(handle_) : 0; number != 0) {
      Error failure = Error::from_errno(number, what);
      if (failure.kind() == ErrorKind::kNoSpace) return std::move(failure).hint(kSpaceHint);
      return failure;
    }
  }
  std::string why = handle_ ? sqlite3_errmsg(handle_) : sqlite3_errstr(code);
  Error failure(kind_of(code), what + ": " + why);
  switch (failure.kind()) {
    case ErrorKind::kNoSpace:
      return std::move(failure).hint(kSpaceHint);
    case ErrorKind::kCorrupt:
      return std::move(failure).hint(
          "the store's database is damaged; `kasane store check` tells what is affected. To start "
          "again, move the store away or choose another with --root");
    case ErrorKind::kConflict:
      return std::move(failure).hint("another kasane process keeps the database locked; try again");
    default:
      return failure;
  }
}

Result<void> Database::connect(const std::string& name, int flags) {
  if (handle_) sqlite3_close_v2(handle_);
  handle_ = nullptr;
  int code = sqlite3_open_v2(name.c_str(), &handle_, flags | SQLITE_OPEN_NOMUTEX, nullptr);
  if (code != SQLITE_OK) return error(code, "open");
  sqlite3_extended_result_codes(handle_, 1);
  sqlite3_busy_timeout(handle_, kBusyTimeoutMs);
  sqlite3_db_config(handle_, SQLITE_DBCONFIG_ENABLE_FKEY, 1, nullptr);
  sqlite3_db_config(handle_, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(handle_, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  return {};
}

// Not through query(): a failed first read may be followed by another connect().
Result<int> Database::schema_version() {
  sqlite3_stmt* statement = nullptr;
  int code = sqlite3_prepare_v2(handle_, "PRAGMA user_version", -1, &statement, nullptr);
  if (code == SQLITE_OK) code = sqlite3_step(statement);
  int version = code == SQLITE_ROW ? sqlite3_column_int(statement, 0) : 0;
  Result<int> out = version;
  if (code != SQLITE_ROW) out = error(code, "read");
  sqlite3_finalize(statement);
  return out;
}

// A reader of a WAL database needs to write its -shm file. On a read-only file system, or one
// without room for that, the database can still be read as an immutable file, if nothing is left
// in the log.
Result<void> Database::connect_for_reading() {
  TRY(connect(path_, SQLITE_OPEN_READONLY));
  Result<int> version = schema_version();
  if (version) return {};
  bool blocked = version.error().kind() == ErrorKind::kPermission ||
                 version.error().kind() == ErrorKind::kNoSpace ||
                 sqlite3_errcode(handle_) == SQLITE_CANTOPEN;
  if (!blocked) return std::move(version.error());
  struct stat log;
  if (::stat((path_ + "-wal").c_str(), &log) == 0 && log.st_size > 0)
    return Error(ErrorKind::kPermission,
                 "read " + path_ +
                     ": its last changes are still in the write-ahead log, which "
                     "cannot be read in a read-only directory")
        .hint("run `kasane images` once where the store is writable");
  return connect(immutable_uri(path_), SQLITE_OPEN_READONLY | SQLITE_OPEN_URI);
}

Result<std::unique_ptr<Database>> Database::open(const std::string& path, bool read_only) {
  std::unique_ptr<Database> out(new Database(path));
  if (read_only) {
    TRY(out->connect_for_reading());
  } else {
    TRY(out->connect(path, SQLITE_OPEN_READWRITE));
  }
  Result<int> version = out->schema_version();
  if (!version && !read_only && version.error().kind() != ErrorKind::kCorrupt &&
      version.error().kind() != ErrorKind::kConflict &&
      version.error().kind() != ErrorKind::kNoSpace) {
    TRY(out->connect_for_reading());
    version = out->schema_version();
  }
  if (!version) return std::move(version.error());
  if (*version > kSchemaVersion)
    return Error(ErrorKind::kUnsupported, path + " was written by a newer kasane (schema " +
                                              std::to_string(*version) + ", this one knows " +
                                              std::to_string(kSchemaVersion) + ")")
        .hint("use that kasane, or choose another store with --root");
  if (*version <= 0) return std::unique_ptr<Database>();
  out->outdated_ = *version < kSchemaVersion;
  if (out->outdated_) TRY(out->execute(kReadV1AsV2));
  return out;
}

Result<void> Database::migrate() {
  if (!outdated_) return {};  // without the lock: callers may hold others
  std::lock_guard lock(mutex_);
  if (!outdated_) return {};
  TRY_CONTEXT(upgrade(), "bring the store's database up to date");
  outdated_ = false;
  return {};
}

// The version is part of the transaction, so that of several processes one does the work.
// The temporary tables hide the real ones: they go first, whoever did it.
Result<void> Database::upgrade() {
  Transaction transaction = TRY(begin(Access::kWrite));
  TRY(execute(kForgetV1AsV2));
  if (TRY(schema_version()) < kSchemaVersion) {
    TRY(execute(kSchemaV2));
    TRY(execute(kMigrateToV2));
    TRY(execute(set_version().c_str()));
  }
  return transaction.commit();
}

// Made beside its place without syncing, synced once, then renamed: a crash leaves either no
// database or a whole one, for two fsyncs instead of a dozen.
Result<std::unique_ptr<Database>> Database::create(const std::string& path) {
  std::string fresh = path + ".new";
  for (const char* suffix : {"", "-wal", "-shm", "-journal"}) ::unlink((fresh + suffix).c_str());
  {
    Database database(fresh);
    TRY(database.connect(fresh, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE));
    TRY(database.execute("PRAGMA synchronous = OFF"));
    TRY(database.execute("PRAGMA journal_mode = WAL"));
    TRY(database.execute(kSchema));
    TRY(database.execute(kSchemaV2));
    TRY(database.execute(set_version().c_str()));
  }  // closing folds the log into the file
  {
    UniqueFd file = TRY(open_file(fresh, O_RDWR));
    TRY(sync_fd(file.get(), fresh));
  }
  if (::rename(fresh.c_str(), path.c_str()) != 0)
    return Error::from_errno(errno, "rename to " + path);
  return open(path, false);
}

Database::~Database() {
  for (auto& [sql, cached] : statements_) sqlite3_finalize(cached.statement);
  // The last connection that closes folds the log into the database and removes it.
  if (handle_) sqlite3_close_v2(handle_);
}

Result<void> Database::execute(const char* sql) {
  int code = sqlite3_exec(handle_, sql, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return error(code, "change");
  return {};
}

Result<Database::Query> Database::query(std::string_view sql) {
  std::lock_guard lock(mutex_);
  Cached* cached = &statements_[sql];
  if (cached->in_use) cached = nullptr;
  sqlite3_stmt* statement = cached ? cached->statement : nullptr;
  if (!statement) {
    unsigned flags = cached ? SQLITE_PREPARE_PERSISTENT : 0;
    int code = sqlite3_prepare_v3(handle_, sql.data(), static_cast<int>(sql.size()), flags,
                                  &statement, nullptr);
    if (code != SQLITE_OK) return error(code, "read");
  }
  if (cached) *cached = {statement, true};
  return Query(*this, statement, cached);
}

int64_t Database::changed_rows() const { return sqlite3_changes(handle_); }

Database::Query::Query(Database& database, sqlite3_stmt* statement, Cached* cached)
    : database_(&database), statement_(statement), cached_(cached), lock_(database.mutex_) {}

Database::Query::Query(Query&& other) noexcept
    : database_(other.database_),
      statement_(std::exchange(other.statement_, nullptr)),
      cached_(other.cached_),
      bound_(other.bound_),
      lock_(std::move(other.lock_)) {}

Database::Query::~Query() {
  if (!statement_) return;
  if (!cached_) {
    sqlite3_finalize(statement_);
    return;
  }
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
  cached_->in_use = false;
}

Database::Query& Database::Query::bind(const Sha256Digest& digest) {
  sqlite3_bind_blob(statement_, ++bound_, digest.bytes.data(), 32, SQLITE_TRANSIENT);
  return *this;
}

Database::Query& Database::Query::bind(std::string_view text) {
  sqlite3_bind_text64(statement_, ++bound_, text.data() ? text.data() : "", text.size(),
                      SQLITE_TRANSIENT, SQLITE_UTF8);
  return *this;
}

Database::Query& Database::Query::bind_blob(std::string_view bytes) {
  sqlite3_bind_blob64(statement_, ++bound_, bytes.data() ? bytes.data() : "", bytes.size(),
                      SQLITE_TRANSIENT);
  return *this;
}

Database::Query& Database::Query::bind_integer(int64_t number) {
  sqlite3_bind_int64(statement_, ++bound_, number);
  return *this;
}

Result<bool> Database::Query::next() {
  int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return database_->error(code, sqlite3_stmt_readonly(statement_) ? "read" : "change");
}

Result<void> Database::Query::run() {
  while (TRY(next())) {
  }
  return {};
}

int64_t Database::Query::integer(int column) const {
  return sqlite3_column_int64(statement_, column);
}

std::string Database::Query::text(int column) const {
  const void* bytes = sqlite3_column_blob(statement_, column);
  int size = sqlite3_column_bytes(statement_, column);
  return bytes ? std::string(static_cast<const char*>(bytes), static_cast<size_t>(size)) : "";
}

Sha256Digest Database::Query::digest(int column) const {
  Sha256Digest out;
  const void* bytes = sqlite3_column_blob(statement_, column);
  if (bytes && sqlite3_column_bytes(statement_, column) == 32)
    std::memcpy(out.bytes.data(), bytes, 32);
  return out;
}

Result<Database::Transaction> Database::begin(Access access) {
  std::lock_guard lock(mutex_);
  if (access != Access::kRead && level_ != access) {
    // FULL syncs the log at each commit, together with all that was written before it.
    TRY(execute(access == Access::kWrite ? "PRAGMA synchronous = FULL"
                                         : "PRAGMA synchronous = NORMAL"));
    level_ = access;
  }
  TRY(execute(access == Access::kRead ? "BEGIN" : "BEGIN IMMEDIATE"));
  return Transaction(*this);
}

Database::Transaction::Transaction(Database& database)
    : database_(&database), lock_(database.mutex_) {}

Database::Transaction::Transaction(Transaction&& other) noexcept
    : database_(std::exchange(other.database_, nullptr)), lock_(std::move(other.lock_)) {}

Database::Transaction::~Transaction() {
  // After some errors (FULL, IOERR) SQLite has rolled back by itself.
  if (database_ && !sqlite3_get_autocommit(database_->handle_))
    (void)database_->execute("ROLLBACK").has_value();
}

Result<void> Database::Transaction::commit() {
  TRY(database_->execute("COMMIT"));
  database_ = nullptr;
  lock_.unlock();
  return {};
}

}  // namespace kasane::store
