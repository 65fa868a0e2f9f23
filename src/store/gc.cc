// Deletion. Order: records in one transaction → rename into trash/ → exclusive lock freed →
// trash emptied. A crash in between leaves unreachable files, never a record without them.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <unordered_set>

#include "store/database.h"
#include "store/locks.h"
#include "store/partial_blob.h"
#include "store/store.h"
#include "store/store_internal.h"
#include "store/tags.h"

namespace kasane::store {
namespace {

// Space for the log of a deletion on a full disk.
constexpr off_t kReserveBytes = 256 * 1024;

using DigestSet = std::unordered_set<Sha256Digest, Sha256DigestHash>;

Result<std::vector<std::string>> texts(Database& database, std::string_view sql,
                                       const Sha256Digest& image) {
  std::vector<std::string> out;
  Database::Query row = TRY(database.query(sql));
  row.bind(image);
  while (TRY(row.next())) out.push_back(row.text(0));
  return out;
}

Result<std::vector<Sha256Digest>> digests(Database& database, std::string_view sql,
                                          const Sha256Digest* parameter = nullptr) {
  std::vector<Sha256Digest> out;
  Database::Query row = TRY(database.query(sql));
  if (parameter) row.bind(*parameter);
  while (TRY(row.next())) out.push_back(row.digest(0));
  return out;
}

Result<void> change(Database& database, std::string_view sql, const Sha256Digest& parameter) {
  Database::Query query = TRY(database.query(sql));
  return query.bind(parameter).run();
}

Result<bool> exists(Database& database, std::string_view sql, const Sha256Digest& parameter) {
  Database::Query query = TRY(database.query(sql));
  return query.bind(parameter).next();
}

// Deletes the record when neither an image nor a cached step uses the layer.
Result<bool> drop_layer_if_unused(Database& database, const Sha256Digest& diff_id,
                                  uint64_t& freed_bytes) {
  if (TRY(exists(database, "SELECT 1 FROM image_layers WHERE diff_id = ?", diff_id))) return false;
  if (TRY(exists(database, "SELECT 1 FROM steps WHERE diff_id = ?", diff_id))) return false;
  {
    Database::Query size = TRY(database.query("SELECT content_size FROM layers WHERE diff_id = ?"));
    if (!TRY(size.bind(diff_id).next())) return false;
    freed_bytes += static_cast<uint64_t>(size.integer(0));
  }
  TRY(change(database, "DELETE FROM layers WHERE diff_id = ?", diff_id));
  return true;
}

bool gone(const Error& error) {
  return error.errno_value() == ENOENT || error.errno_value() == ENOTEMPTY;
}

}  // namespace

Result<void> Store::move_to_trash(const std::string& name) {
  std::string target = path("trash/" + name.substr(name.rfind('/') + 1) + "." + random_name());
  if (::rename(path(name).c_str(), target.c_str()) != 0 && errno != ENOENT)
    return Error::from_errno(errno, "move " + path(name) + " to the trash");
  return {};
}

Result<void> Store::remove_records(const Sha256Digest& image, bool only_untagged, bool with_content,
                                   RemovedImage& out) {
  Database& database = *database_;
  out = {};
  out.id = image;
  std::vector<Sha256Digest> dropped_blobs;
  Database::Transaction transaction = TRY(database.begin(Database::Access::kWrite));
  if (!TRY(exists(database, "SELECT 1 FROM images WHERE id = ?", image)))
    return no_such_image(image);
  out.untagged = TRY(texts(database,
                           "SELECT reference FROM tags WHERE image_id = ?1 UNION "
                           "SELECT reference FROM tag_platforms WHERE image_id = ?1 ORDER BY 1",
                           image));
  if (only_untagged && !out.untagged.empty()) {
    out.untagged.clear();
    return {};
  }
  for (std::string& reference :
       TRY(texts(database, "SELECT reference FROM digests WHERE image_id = ? ORDER BY 1", image)))
    out.untagged.push_back(std::move(reference));
  std::vector<Sha256Digest> layers = TRY(digests(
      database, "SELECT diff_id FROM image_layers WHERE image_id = ? ORDER BY position DESC",
      &image));
  std::vector<Sha256Digest> blobs =
      TRY(digests(database, "SELECT digest FROM image_blobs WHERE image_id = ?", &image));
  // A tag that names images of other platforms as well means one of those from now on.
  for (const char* sql :
       {"DELETE FROM tag_platforms WHERE image_id = ?",
        "UPDATE tags SET image_id = (SELECT image_id FROM tag_platforms p WHERE "
        "p.reference = tags.reference ORDER BY platform LIMIT 1) WHERE image_id = ? AND "
        "EXISTS(SELECT 1 FROM tag_platforms p WHERE p.reference = tags.reference)",
        "DELETE FROM tags WHERE image_id = ?", "DELETE FROM digests WHERE image_id = ?",
        "DELETE FROM image_layers WHERE image_id = ?", "DELETE FROM image_blobs WHERE image_id = ?",
        "DELETE FROM images WHERE id = ?"})
    TRY(change(database, sql, image));
  if (with_content) {
    for (const Sha256Digest& layer : layers)
      if (TRY(drop_layer_if_unused(database, layer, out.freed_bytes)))
        out.deleted_layers.push_back(layer);
    for (const Sha256Digest& blob : blobs)
      if (!TRY(exists(database, "SELECT 1 FROM image_blobs WHERE digest = ?", blob)))
        dropped_blobs.push_back(blob);
  }
  TRY(transaction.commit());
  out.deleted = true;
  // What cannot be moved now is unreachable and goes with the next sweep.
  for (const Sha256Digest& layer : out.deleted_layers)
    (void)move_to_trash("layers/" + layer.hex()).has_value();
  for (const Sha256Digest& blob : dropped_blobs)
    ::unlink(path("blobs/sha256/" + blob.hex()).c_str());
  return {};
}

Result<RemovedImage> Store::remove_image(const Sha256Digest& image, bool only_untagged) {
  if (!TRY(writer(false))) return no_such_image(image);
  RemovedImage out;
  // Everybody who uses layers takes the shared lock before the lookup, so with the exclusive
  // one nobody can be about to reuse what this transaction finds unused.
  TRY(with_reserve([&]() -> Result<void> {
    auto alone = [&] { return remove_records(image, only_untagged, true, out); };
    if (TRY(locks_->with_exclusive(alone))) return {};
    return remove_records(image, only_untagged, false, out);
  }));
  empty_trash();
  return out;
}

Result<void> Store::with_reserve(const std::function<Result<void>()>& work) {
  Result<void> done = work();
  if (done || done.error().kind() != ErrorKind::kNoSpace || ::unlink(path("reserve").c_str()) != 0)
    return done;
  done = work();
  make_reserve();
  return done;
}

void Store::make_reserve() {
  Result<UniqueFd> fd = open_file(path("reserve"), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
  if (!fd) return;
  if (::posix_fallocate(fd->get(), 0, kReserveBytes) != 0) ::unlink(path("reserve").c_str());
}

// Layers and blobs that no record reaches. REQUIRES: the exclusive lock.
Result<uint64_t> Store::sweep_unreachable(uint64_t& freed_bytes) {
  Database& database = *database_;
  DigestSet layers, blobs;
  {
    Database::Transaction transaction = TRY(database.begin(Database::Access::kWrite));
    for (const Sha256Digest& layer :
         TRY(digests(database,
                     "SELECT diff_id FROM layers l WHERE NOT EXISTS(SELECT 1 FROM image_layers i "
                     "WHERE i.diff_id = l.diff_id) AND NOT EXISTS(SELECT 1 FROM steps s WHERE "
                     "s.diff_id = l.diff_id)")))
      TRY(drop_layer_if_unused(database, layer, freed_bytes));
    for (const Sha256Digest& layer : TRY(digests(database, "SELECT diff_id FROM layers")))
      layers.insert(layer);
    for (const Sha256Digest& blob : TRY(digests(database, "SELECT digest FROM image_blobs")))
      blobs.insert(blob);
    TRY(transaction.commit());
  }
  uint64_t count = 0;
  auto unreachable = [](const std::string& name, const DigestSet& reachable) {
    std::optional<Sha256Digest> digest = Sha256Digest::from_hex(name);
    return !digest || !reachable.contains(*digest);
  };
  for (const char* folder : {"layers", "blobs/sha256"}) {
    const DigestSet& reachable = folder == std::string_view("layers") ? layers : blobs;
    for (const std::string& name : TRY(list_directory(path(folder)))) {
      if (!unreachable(name, reachable)) continue;
      TRY(move_to_trash(std::string(folder) + "/" + name));
      ++count;
    }
  }
  return count;
}

uint64_t Store::sweep_ingests() {
  Result<std::optional<FileLock>> sweeping = locks_->sweeping_ingests();
  if (!sweeping || !*sweeping) return 0;
  Result<std::vector<std::string>> names = list_directory(path("ingest"));
  if (!names) return 0;
  uint64_t count = 0;
  for (const std::string& name : *names) {
    std::string entry = "ingest/" + name;
    struct stat st;
    if (::lstat(path(entry).c_str(), &st) != 0) continue;
    std::optional<FileLock> owner;
    if (S_ISDIR(st.st_mode)) {
      Result<std::optional<FileLock>> lock =
          FileLock::try_lock(path(entry + "/lock"), FileLock::Mode::kExclusive);
      if (lock && !*lock) continue;  // its owner lives
      if (lock) owner = std::move(*lock);
    }
    if (move_to_trash(entry)) ++count;
  }
  return count;
}

uint64_t Store::empty_trash() {
  Result<std::optional<FileLock>> emptying = locks_->emptying_trash();
  if (!emptying || !*emptying) return 0;  // another process is at it
  Result<std::vector<std::string>> names = list_directory(path("trash"));
  if (!names) return 0;
  uint64_t count = 0;
  for (const std::string& name : *names) {
    std::string entry = path("trash/" + name);
    Result<void> removed = remove_tree(entry);
    if (!removed && removed.error().kind() == ErrorKind::kPermission) {
      // A tree with owners of a user namespace: only its mapped root may delete it.
      Result<int> status = tree_runner_([&entry]() -> int {
        Result<void> inner = remove_tree(entry);
        return inner ? 0 : std::max(inner.error().errno_value(), 1);
      });
      if (status && *status == 0) removed = Result<void>();
    }
    if (removed || gone(removed.error())) ++count;
  }
  return count;
}

Result<uint64_t> Store::sweep() {
  if (!TRY(writer(false))) return uint64_t{0};
  uint64_t count = empty_trash();
  count += sweep_ingests();
  count += sweep_partial_blobs(*this);
  auto unreachable = [&]() -> Result<void> {
    uint64_t freed_bytes = 0;
    count += TRY(sweep_unreachable(freed_bytes));
    return {};
  };
  TRY(with_reserve([&]() -> Result<void> {
    TRY(locks_->with_exclusive(unreachable));
    return {};
  }));
  empty_trash();
  return count;
}

}  // namespace kasane::store
