// The step cache: what a build step with this key made before.
#include "store/database.h"
#include "store/locks.h"
#include "store/store.h"
#include "store/store_internal.h"

namespace kasane::store {
namespace {

constexpr int64_t kDay = 86'400'000'000'000;

StepRow read_step(const Database::Query& row) {
  StepRow out;
  out.key = row.digest(0);
  out.diff_id = row.digest(1);
  out.created_ns = row.integer(2);
  out.duration_ns = static_cast<uint64_t>(row.integer(3));
  out.scope = row.text(4);
  out.explanation = row.text(5);
  return out;
}

}  // namespace

Result<std::optional<StepRow>> Store::find_step(const Sha256Digest& key) {
  Database* database = TRY(reader());
  if (!database) return std::optional<StepRow>();
  StepRow out;
  int64_t last_used_ns;
  {
    Database::Query row = TRY(database->query(
        "SELECT key, diff_id, s.created_ns, duration_ns, scope, explanation, last_used_ns "
        "FROM steps s JOIN layers USING(diff_id) WHERE key = ?"));
    if (!TRY(row.bind(key).next())) return std::optional<StepRow>();
    out = read_step(row);
    last_used_ns = row.integer(6);
  }
  // The last use is kept to the day: a fully cached build writes nothing.
  if (!options_.read_only && last_used_ns < now_ns() - kDay) {
    std::lock_guard lock(mutex_);
    used_steps_.push_back(key);
  }
  return std::optional<StepRow>(std::move(out));
}

Result<std::optional<StepRow>> Store::last_step_of(const std::string& scope) {
  Database* database = TRY(reader());
  if (!database) return std::optional<StepRow>();
  Database::Query row = TRY(
      database->query("SELECT key, diff_id, created_ns, duration_ns, scope, explanation FROM steps "
                      "WHERE scope = ? ORDER BY created_ns DESC LIMIT 1"));
  if (!TRY(row.bind(scope).next())) return std::optional<StepRow>();
  return std::optional<StepRow>(read_step(row));
}

Result<void> Store::put_step(const StepRow& step) {
  TRY(ensure_writable());
  flush_used_steps();
  Database* database = TRY(reader());
  Database::Transaction transaction = TRY(database->begin(Database::Access::kWriteCache));
  {
    Database::Query layer = TRY(database->query("SELECT 1 FROM layers WHERE diff_id = ?"));
    if (!TRY(layer.bind(step.diff_id).next()))
      return Error(ErrorKind::kNotFound,
                   "cannot cache a step: its layer " + step.diff_id.str() + " is not in the store");
    Database::Query insert = TRY(database->query(
        "INSERT OR REPLACE INTO steps(key, diff_id, created_ns, duration_ns, scope, explanation, "
        "last_used_ns) VALUES(?, ?, ?, ?, ?, ?, ?)"));
    insert.bind(step.key).bind(step.diff_id).bind(step.created_ns).bind(step.duration_ns);
    TRY(insert.bind(step.scope).bind(step.explanation).bind(now_ns()).run());
  }
  return transaction.commit();
}

// Best effort: a lost use only makes a step look a day older to prune_steps().
void Store::flush_used_steps() {
  std::vector<Sha256Digest> used;
  {
    std::lock_guard lock(mutex_);
    used.swap(used_steps_);
  }
  if (used.empty() || !database_) return;
  auto write = [&]() -> Result<void> {
    Database::Transaction transaction = TRY(database_->begin(Database::Access::kWriteCache));
    for (const Sha256Digest& key : used) {
      Database::Query update =
          TRY(database_->query("UPDATE steps SET last_used_ns = ? WHERE key = ?"));
      TRY(update.bind(now_ns()).bind(key).run());
    }
    return transaction.commit();
  };
  (void)write().has_value();
}

Result<uint64_t> Store::prune_steps(std::optional<int64_t> unused_since_ns) {
  Database* database = TRY(writer(false));
  if (!database) return uint64_t{0};
  flush_used_steps();
  auto drop = [&]() -> Result<void> {
    Database::Transaction transaction = TRY(database->begin(Database::Access::kWriteCache));
    {
      Database::Query query = TRY(database->query("DELETE FROM steps WHERE last_used_ns < ?"));
      TRY(query.bind(unused_since_ns.value_or(INT64_MAX)).run());
    }
    return transaction.commit();
  };
  // Dropping rows is safe beside a running build: the layers that it found stay until
  // nobody holds the store.
  TRY(with_reserve(drop));
  uint64_t freed = 0;
  auto unreachable = [&]() -> Result<void> {
    freed = 0;
    TRY(sweep_unreachable(freed));
    return {};
  };
  TRY(with_reserve([&]() -> Result<void> {
    TRY(locks_->with_exclusive(unreachable));
    return {};
  }));
  empty_trash();
  return freed;
}

}  // namespace kasane::store
