#include "store/store.h"

#include <pwd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>

#include "store/database.h"
#include "store/locks.h"
#include "store/store_internal.h"

namespace kasane::store {
namespace {

// Made in this order; "locks" comes first so that a half-made store is recognised.
constexpr const char* kFolders[] = {"locks",  "blobs",  "blobs/sha256", "layers",
                                    "ingest", "mounts", "builds",       "trash"};

// Made by others when they need them.
constexpr std::string_view kLaterNames[] = {"downloads",  "uploads", "sources", "statcache",
                                            "lost+found", "reserve"};
constexpr std::string_view kLaterPrefixes[] = {"kasane.db", "sandbox.", "seccomp.",
                                               ".kasane-probe-"};

std::string user_name(uid_t uid) {
  passwd entry{};
  passwd* found = nullptr;
  char buffer[4096];
  if (::getpwuid_r(uid, &entry, buffer, sizeof buffer, &found) == 0 && found)
    return std::string(found->pw_name) + " (uid " + std::to_string(uid) + ")";
  return "uid " + std::to_string(uid);
}

// A directory that holds anything but our own names is not ours to write into.
Result<void> refuse_foreign_content(const std::string& root) {
  for (const std::string& name : TRY(list_directory(root))) {
    bool ours =
        std::any_of(std::begin(kLaterPrefixes), std::end(kLaterPrefixes),
                    [&](std::string_view prefix) { return name.starts_with(prefix); }) ||
        std::find(std::begin(kFolders), std::end(kFolders), name) != std::end(kFolders) ||
        std::find(std::begin(kLaterNames), std::end(kLaterNames), name) != std::end(kLaterNames);
    if (!ours)
      return Error(ErrorKind::kConflict, root + " is not a kasane store: it holds \"" + name + "\"")
          .hint("choose an empty or new directory with --root or KASANE_ROOT");
  }
  return {};
}

// Owner and mode (F16): whoever can write here can make us run their files as ours.
Result<void> check_owner(const std::string& root, const struct stat& st, bool read_only) {
  if (S_ISLNK(st.st_mode))
    return Error(ErrorKind::kPermission, "the store " + root + " is a symbolic link")
        .hint("name the directory itself with --root or KASANE_ROOT");
  if (!S_ISDIR(st.st_mode))
    return Error(ErrorKind::kConflict, "the store " + root + " is not a directory");
  uid_t self = ::geteuid();
  if (st.st_uid != self && !(read_only && st.st_uid == 0))
    return Error(ErrorKind::kPermission, "the store " + root + " belongs to " +
                                             user_name(st.st_uid) + ", but kasane runs as " +
                                             user_name(self))
        .hint(
            "run kasane as its owner, choose your own store with --root, or give the whole "
            "directory to yourself with chown -R");
  if ((st.st_mode & 022) != 0)
    return Error(ErrorKind::kPermission, "the store " + root + " may be written by other users")
        .hint("look at what is in it, then run: chmod go-w " + root);
  return {};
}

// False when there is nothing at root.
Result<bool> check_root(const std::string& root, bool read_only) {
  struct stat st;
  if (::lstat(root.c_str(), &st) != 0) {
    if (errno == ENOENT) return false;
    return Error::from_errno(errno, "open the store " + root);
  }
  TRY(check_owner(root, st, read_only));
  struct stat database;
  if (::lstat((root + "/kasane.db").c_str(), &database) == 0) {
    if (!S_ISREG(database.st_mode))
      return Error(ErrorKind::kPermission, root + "/kasane.db is not a plain file");
    return true;
  }
  if (errno != ENOENT) return Error::from_errno(errno, "open the store " + root);
  TRY(refuse_foreign_content(root));
  return true;
}

std::string absolute_path(const std::string& path) {
  std::error_code ignored;
  std::filesystem::path absolute = std::filesystem::absolute(path, ignored);
  std::string out = absolute.empty() ? path : absolute.lexically_normal().string();
  while (out.size() > 1 && out.ends_with('/')) out.pop_back();
  return out;
}

std::string parent_of(const std::string& path) {
  size_t slash = path.rfind('/');
  return slash == std::string::npos || slash == 0 ? "/" : path.substr(0, slash);
}

Result<bool> make_directory(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) == 0) return true;
  if (errno == EEXIST) return false;
  return with_space_hint(Error::from_errno(errno, "create " + path));
}

}  // namespace

std::string default_root(const std::string& flag) {
  if (!flag.empty()) return flag;
  auto variable = [](const char* name) -> std::string {
    const char* value = ::getenv(name);
    return value ? value : "";
  };
  if (std::string root = variable("KASANE_ROOT"); !root.empty()) return root;
  if (::geteuid() == 0) return "/var/lib/kasane";
  // XDG base directory specification: relative values are to be ignored.
  if (std::string data = variable("XDG_DATA_HOME"); data.starts_with('/')) return data + "/kasane";
  std::string home = variable("HOME");
  if (home.empty()) {
    const passwd* entry = ::getpwuid(::geteuid());
    home = entry && entry->pw_dir ? entry->pw_dir : "/";
  }
  return home + "/.local/share/kasane";
}

Result<std::unique_ptr<Store>> Store::open(const OpenOptions& options) {
  if (options.root.empty()) return Error(ErrorKind::kInvalid, "the path of the store is empty");
  std::unique_ptr<Store> store(new Store);
  store->root_ = absolute_path(options.root);
  store->options_ = options;
  store->locks_ = std::make_unique<Locks>(store->root_, options.lock_timeout_ms);
  TRY(store->reader());
  return store;
}

Store::~Store() { flush_used_steps(); }

Result<Database*> Store::attach() {
  if (database_) return database_.get();
  if (!TRY(check_root(root_, options_.read_only))) return nullptr;
  std::string file = path("kasane.db");
  // A store that lost its database must not be taken for a new one: the next sweep would
  // remove everything in it. Looked at twice, for another process may just be creating it.
  for (int attempt = 0; attempt < 2 && !database_; ++attempt) {
    struct stat st;
    if (::lstat(file.c_str(), &st) == 0) {
      if (hold_wanted_) TRY(locks_->hold());
      Result<std::unique_ptr<Database>> database = Database::open(file, options_.read_only);
      // On a full disk there is not even room for the files beside the database, without which
      // nothing could be removed either.
      if (!database && database.error().kind() == ErrorKind::kNoSpace && !options_.read_only &&
          ::unlink(path("reserve").c_str()) == 0)
        database = Database::open(file, false);
      database_ = TRY(std::move(database));
    }
    if (!database_ && !has_objects(root_)) return nullptr;
  }
  if (!database_)
    return Error(ErrorKind::kCorrupt, "the store " + root_ +
                                          " holds layers or blobs, but its database is missing "
                                          "or empty")
        .hint("put kasane.db back, or run `kasane store repair`, which makes it again from what "
              "is there (without tags)");
  return database_.get();
}

Result<Database*> Store::reader() {
  std::lock_guard lock(mutex_);
  return attach();
}

Result<Database*> Store::writer(bool create) {
  if (options_.read_only)
    return Error(ErrorKind::kPermission, "the store " + root_ + " is opened for reading only");
  std::lock_guard lock(mutex_);
  Database* database = TRY(attach());
  if (!database && !create) return nullptr;
  if (!layout_ready_) TRY(create_layout());
  TRY(database_->migrate());
  return database_.get();
}

Result<Database*> Store::migrated_reader() {
  return options_.read_only ? reader() : writer(false);
}

Result<void> Store::create_layout() {
  bool fresh = database_ == nullptr;
  if (fresh) TRY(make_directories(parent_of(root_), 0755));
  bool made_root = TRY(make_directory(root_));
  if (fresh && !made_root && ::chmod(root_.c_str(), 0700) != 0)
    return Error::from_errno(errno, "chmod " + root_);
  bool made_any = false;
  for (const char* folder : kFolders) made_any |= TRY(make_directory(path(folder)));
  if (fresh) TRY(create_database());
  if (made_any) TRY(sync_directory(path("blobs")));
  if (made_any || fresh) TRY(sync_directory(root_));
  if (made_root) TRY(sync_directory(parent_of(root_)));
  make_reserve();
  layout_ready_ = true;
  return {};
}

Result<void> Store::create_database() {
  FileLock creating = TRY(locks_->creating());
  if (TRY(attach())) return {};  // another process was faster
  if (hold_wanted_) TRY(locks_->hold());
  database_ = TRY(Database::create(path("kasane.db")));
  return {};
}

Result<void> Store::hold() {
  std::lock_guard lock(mutex_);
  hold_wanted_ = true;
  // Without a store there is nothing to protect yet; attach() catches up.
  return TRY(attach()) ? locks_->hold() : Result<void>();
}

void Store::release() {
  std::lock_guard lock(mutex_);
  hold_wanted_ = false;
  locks_->release();
}

Result<void> Store::ensure_writable() {
  TRY(writer(true));
  TRY(hold());
  bool sweep_now;
  {
    std::lock_guard lock(mutex_);
    sweep_now = !std::exchange(swept_, true);
  }
  if (sweep_now) {
    sweep_ingests();
    empty_trash();
  }
  return {};
}

Result<Store::Ingest> Store::new_ingest() {
  TRY(ensure_writable());
  return make_ingest();
}

Result<Store::Ingest> Store::make_ingest() {
  // While this lock is held no sweeper looks, so it never sees a directory without lock.
  FileLock making = TRY(locks_->making_ingest());
  std::string directory = path("ingest/" + random_name());
  if (!TRY(make_directory(directory)))
    return Error(ErrorKind::kConflict, directory + " exists already");
  Result<std::optional<FileLock>> lock =
      FileLock::try_lock(directory + "/lock", FileLock::Mode::kExclusive);
  if (!lock || !*lock) {
    (void)remove_tree(directory).has_value();
    if (!lock) return with_space_hint(std::move(lock.error()));
    return Error(ErrorKind::kConflict, directory + " is locked by another process");
  }
  return Ingest(directory, std::move(**lock).take());
}

Store::Ingest::~Ingest() {
  if (path_.empty()) return;
  // What cannot be deleted here (owners of another user namespace) waits in trash/, where
  // it is tried again with the tree runner.
  size_t slash = path_.rfind('/');
  std::string root = path_.substr(0, path_.rfind('/', slash - 1));
  std::string trash = root + "/trash/" + path_.substr(slash + 1);
  bool moved = ::rename(path_.c_str(), trash.c_str()) == 0;
  (void)remove_tree(moved ? trash : path_).has_value();
}

Result<std::string> Store::temporary_name() {
  std::lock_guard lock(mutex_);
  if (!scratch_) scratch_.emplace(TRY(make_ingest()));
  return scratch_->path() + "/" + std::to_string(++counter_);
}

}  // namespace kasane::store
