// The step cache: what a build step with this key made before.
#include "store/database.h"
#include "store/locks.h"
#include "store/store.h"
#include "store/store_internal.h"

namespace kasane::store {
namespace {

constexpr int64_t kUseGranularity = 3'600'000'000'000;  // one hour

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

// The same step of another checkout has the same text behind the context's path.
std::string_view suffix_of(std::string_view scope) {
  size_t bar = scope.find('|');
  return bar == std::string_view::npos ? scope : scope.substr(bar + 1);
}

// True when recording this use would change no answer of last_step_of().
Result<bool> is_latest_use(Database& database, const std::string& scope, const Sha256Digest& key) {
  Database::Query row =
      TRY(database.query("SELECT scope, key FROM step_scopes WHERE suffix = ? "
                         "ORDER BY used_ns DESC LIMIT 1"));
  if (!TRY(row.bind(suffix_of(scope)).next())) return false;
  return row.text(0) == scope && row.digest(1) == key;
}

// REQUIRES: a write transaction, and that the step is there. Never earlier than what is
// recorded: clocks may be set back.
Result<void> record_use(Database& database, const std::string& scope, const Sha256Digest& key) {
  Database::Query insert =
      TRY(database.query("INSERT OR REPLACE INTO step_scopes(scope, suffix, key, used_ns) "
                         "VALUES(?1, ?2, ?3, max(?4, (SELECT coalesce(max(used_ns), 0) + 1 "
                         "FROM step_scopes WHERE suffix = ?2)))"));
  return insert.bind(scope).bind(suffix_of(scope)).bind(key).bind(now_ns()).run();
}

Result<void> drop_unused(Database& database, int64_t unused_since_ns) {
  for (const char* sql : {"DELETE FROM step_scopes WHERE key IN "
                          "(SELECT key FROM steps WHERE last_used_ns < ?)",
                          "DELETE FROM steps WHERE last_used_ns < ?"}) {
    Database::Query query = TRY(database.query(sql));
    TRY(query.bind(unused_since_ns).run());
  }
  return {};
}

// Several steps may share a layer (equal results, shortcuts): its last use is theirs, and
// they go together. Layers of images cost nothing, so their steps stay.
Result<void> drop_beyond(Database& database, int64_t unused_since_ns, uint64_t keep_bytes) {
  struct Candidate {
    Sha256Digest layer;
    uint64_t size;
    int64_t last_used_ns;
  };
  std::vector<Candidate> candidates;
  uint64_t total = 0;
  {
    Database::Query row = TRY(
        database.query("SELECT s.diff_id, l.content_size, max(s.last_used_ns) AS used "
                       "FROM steps s JOIN layers l ON l.diff_id = s.diff_id "
                       "WHERE NOT EXISTS(SELECT 1 FROM image_layers i WHERE "
                       "i.diff_id = s.diff_id) GROUP BY s.diff_id ORDER BY used, max(s.rowid)"));
    while (TRY(row.next())) {
      candidates.push_back({row.digest(0), static_cast<uint64_t>(row.integer(1)), row.integer(2)});
      total += candidates.back().size;
    }
  }
  for (const Candidate& candidate : candidates) {
    if (total <= keep_bytes || candidate.last_used_ns >= unused_since_ns) break;
    for (const char* sql :
         {"DELETE FROM step_scopes WHERE key IN (SELECT key FROM steps WHERE diff_id = ?)",
          "DELETE FROM steps WHERE diff_id = ?"}) {
      Database::Query query = TRY(database.query(sql));
      TRY(query.bind(candidate.layer).run());
    }
    total -= candidate.size;
  }
  return {};
}

}  // namespace

Result<std::optional<StepRow>> Store::find_step(const Sha256Digest& key, const std::string& scope) {
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
  if (options_.read_only) return std::optional<StepRow>(std::move(out));
  // Last uses are kept to the hour, and who uses what only where it changes: a fully cached
  // build that follows another one writes nothing.
  UsedStep use{key, scope.empty() ? out.scope : scope};
  if (!use.scope.empty() && TRY(is_latest_use(*database, use.scope, key))) use.scope.clear();
  if (!use.scope.empty() || last_used_ns < now_ns() - kUseGranularity) {
    std::lock_guard lock(mutex_);
    used_steps_.push_back(std::move(use));
  }
  return std::optional<StepRow>(std::move(out));
}

Result<std::optional<StepRow>> Store::last_step_of(const std::string& scope) {
  Database* database = TRY(migrated_reader());
  if (!database || scope.empty()) return std::optional<StepRow>();
  flush_used_steps();
  {
    Database::Query row =
        TRY(database->query("SELECT s.key, s.diff_id, s.created_ns, s.duration_ns, s.scope, "
                            "s.explanation FROM step_scopes u JOIN steps s ON s.key = u.key "
                            "WHERE u.scope = ?"));
    if (TRY(row.bind(scope).next())) return std::optional<StepRow>(read_step(row));
  }
  Database::Query row =
      TRY(database->query("SELECT s.key, s.diff_id, s.created_ns, s.duration_ns, s.scope, "
                          "s.explanation FROM step_scopes u JOIN steps s ON s.key = u.key "
                          "WHERE u.suffix = ? ORDER BY u.used_ns DESC LIMIT 1"));
  if (!TRY(row.bind(suffix_of(scope)).next())) return std::optional<StepRow>();
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
        "INSERT INTO steps(key, diff_id, created_ns, duration_ns, scope, explanation, "
        "last_used_ns) VALUES(?, ?, ?, ?, ?, ?, ?) ON CONFLICT(key) DO UPDATE SET "
        "diff_id = excluded.diff_id, created_ns = excluded.created_ns, "
        "duration_ns = excluded.duration_ns, scope = excluded.scope, "
        "explanation = excluded.explanation, last_used_ns = excluded.last_used_ns"));
    insert.bind(step.key).bind(step.diff_id).bind(step.created_ns).bind(step.duration_ns);
    TRY(insert.bind(step.scope).bind(step.explanation).bind(now_ns()).run());
    if (!step.scope.empty()) TRY(record_use(*database, step.scope, step.key));
  }
  return transaction.commit();
}

// Best effort: a lost use makes a step look older to prune_steps(), and a later miss be
// compared with an earlier run.
void Store::flush_used_steps() {
  std::vector<UsedStep> used;
  {
    std::lock_guard lock(mutex_);
    used.swap(used_steps_);
  }
  if (used.empty() || !database_) return;
  auto write = [&]() -> Result<void> {
    TRY(database_->migrate());
    Database::Transaction transaction = TRY(database_->begin(Database::Access::kWriteCache));
    for (const UsedStep& use : used) {
      Database::Query update =
          TRY(database_->query("UPDATE steps SET last_used_ns = ? WHERE key = ?"));
      TRY(update.bind(now_ns()).bind(use.key).run());
      // Pruned in the meantime: nothing to remember.
      if (database_->changed_rows() == 0 || use.scope.empty()) continue;
      TRY(record_use(*database_, use.scope, use.key));
    }
    return transaction.commit();
  };
  (void)write().has_value();
}

Result<StepUsage> Store::step_usage() {
  StepUsage out;
  Database* database = TRY(reader());
  if (!database) return out;
  Database::Transaction snapshot = TRY(database->begin(Database::Access::kRead));
  {
    Database::Query row = TRY(database->query("SELECT count(*) FROM steps WHERE scope <> ''"));
    if (TRY(row.next())) out.steps = static_cast<uint64_t>(row.integer(0));
  }
  Database::Query row =
      TRY(database->query("SELECT count(*), coalesce(sum(content_size), 0) FROM layers l WHERE "
                          "EXISTS(SELECT 1 FROM steps s WHERE s.diff_id = l.diff_id) AND "
                          "NOT EXISTS(SELECT 1 FROM image_layers i WHERE i.diff_id = l.diff_id)"));
  if (TRY(row.next())) {
    out.layers = static_cast<uint64_t>(row.integer(0));
    out.bytes = static_cast<uint64_t>(row.integer(1));
  }
  return out;
}

Result<std::vector<StepInfo>> Store::list_steps() {
  std::vector<StepInfo> out;
  Database* database = TRY(reader());
  if (!database) return out;
  Database::Query row = TRY(database->query(
      "SELECT s.key, s.created_ns, s.last_used_ns, l.content_size, "
      "EXISTS(SELECT 1 FROM image_layers i WHERE i.diff_id = s.diff_id) "
      "FROM steps s JOIN layers l ON l.diff_id = s.diff_id WHERE s.scope <> '' "
      "ORDER BY s.created_ns DESC, s.key"));
  while (TRY(row.next()))
    out.push_back({row.digest(0), row.integer(1), row.integer(2),
                   static_cast<uint64_t>(row.integer(3)), row.integer(4) != 0});
  return out;
}

Result<uint64_t> Store::prune_steps(const StepPrune& which) {
  Database* database = TRY(writer(false));
  if (!database) return uint64_t{0};
  flush_used_steps();
  auto drop = [&]() -> Result<void> {
    Database::Transaction transaction = TRY(database->begin(Database::Access::kWriteCache));
    if (which.keep_bytes) {
      TRY(drop_beyond(*database, which.unused_since_ns.value_or(INT64_MAX), *which.keep_bytes));
    } else {
      TRY(drop_unused(*database, which.unused_since_ns.value_or(INT64_MAX)));
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
