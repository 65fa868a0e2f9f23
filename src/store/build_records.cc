#include "store/build_records.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <ctime>
#include <mutex>

#include "oci/json.h"
#include "store/cache_mounts_internal.h"
#include "store/locks.h"
#include "store/store.h"
#include "store/store_internal.h"

namespace kasane::store {
namespace {

constexpr size_t kMinHexPrefix = 4;
constexpr size_t kMinIdPrefix = 4;

// "20240131T235959.123456-0123abcd", UTC: sorts by time.
std::string new_build_id() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  tm parts{};
  ::gmtime_r(&now.tv_sec, &parts);
  char text[64];
  size_t size = std::strftime(text, sizeof text, "%Y%m%dT%H%M%S", &parts);
  char rest[32];
  std::snprintf(rest, sizeof rest, ".%06ld-", now.tv_nsec / 1000);
  return std::string(text, size) + rest + random_name().substr(0, 8);
}

bool is_build_id(std::string_view name) {
  constexpr std::string_view kForm =
      "dddddddd"
      "T"
      "dddddd"
      "."
      "dddddd"
      "-"
      "xxxxxxxx";
  if (name.size() != kForm.size()) return false;
  for (size_t i = 0; i < name.size(); ++i) {
    const char c = name[i];
    const bool digit = c >= '0' && c <= '9';
    if (kForm[i] == 'd'   ? !digit
        : kForm[i] == 'x' ? !(digit || (c >= 'a' && c <= 'f'))
                          : c != kForm[i])
      return false;
  }
  return true;
}

// Newest first; what has another name is not ours to judge.
Result<std::vector<std::string>> build_ids(const Store& store) {
  std::vector<std::string> names = TRY(list_directory(store.path("builds")));
  std::erase_if(names, [](const std::string& name) { return !is_build_id(name); });
  std::reverse(names.begin(), names.end());
  return names;
}

bool is_directory(const std::string& path) {
  struct stat st;
  return ::lstat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode);
}

Result<void> make_directory(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) return {};
  return with_space_hint(Error::from_errno(errno, "create " + path));
}

// Moves builds/<id><below> to the trash unless its build lives. REQUIRES: nobody is just
// making a build's directory (sweeping_ingests).
bool trash_unless_alive(Store& store, const std::string& id, const std::string& below) {
  const std::string directory = store.path("builds/" + id);
  Result<std::optional<FileLock>> lock =
      FileLock::try_lock(directory + "/lock", FileLock::Mode::kExclusive);
  if (lock && !*lock) return false;
  return store.move_to_trash("builds/" + id + below).has_value();
}

Result<BuildRecord> read_record(const Store& store, const std::string& id) {
  const std::string path = store.path("builds/" + id + "/record.json");
  UniqueFd fd = TRY(open_file(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
  std::string text = TRY(read_fd(fd.get(), oci::Json::kMaxBytes, path));
  BuildRecord record = TRY_CONTEXT(parse_build_record(text), "read " + path);
  record.id = id;
  return record;
}

// A build that runs, or that died, has no record yet, and one that nobody synced may be empty
// after a power cut: that is no reason for a warning.
bool was_not_written(const Store& store, const std::string& id, const Error& error) {
  if (error.errno_value() == ENOENT || error.errno_value() == ENOTDIR) return true;
  struct stat st;
  return ::lstat(store.path("builds/" + id + "/record.json").c_str(), &st) == 0 &&
         S_ISREG(st.st_mode) && st.st_size == 0;
}

std::optional<BuildRecord> read_or_warn(const Store& store, const std::string& id,
                                        std::vector<std::string>* warnings) {
  Result<BuildRecord> record = read_record(store, id);
  if (record) return std::move(*record);
  if (warnings && !was_not_written(store, id, record.error()))
    warnings->push_back("ignoring the record of build " + id + ": " +
                        record.error().full_message());
  return std::nullopt;
}

bool names_image(std::string_view text, std::string_view image) {
  constexpr std::string_view kPrefix = "sha256:";
  if (text.starts_with(kPrefix)) text.remove_prefix(kPrefix.size());
  if (image.starts_with(kPrefix)) image.remove_prefix(kPrefix.size());
  return text.size() >= kMinHexPrefix && image.starts_with(text);
}

bool is_meant(const BuildRecord& record, const std::string& text) {
  return text.empty() || names_image(text, record.image) ||
         std::find(record.tags.begin(), record.tags.end(), text) != record.tags.end();
}

}  // namespace

struct BuildRecordWriter::Impl {
  explicit Impl(Store& of) : store(of), id(new_build_id()) {}

  std::string directory() const { return store.path("builds/" + id); }
  Result<void> make();
  Result<void> write(const std::string& text);
  void drop_old();
  void drop_failed_trees();

  Store& store;
  const std::string id;
  std::mutex mutex;  // guards the rest
  UniqueFd lock;
};

Result<void> BuildRecordWriter::Impl::make() {
  std::lock_guard guard(mutex);
  if (lock) return {};
  TRY(store.ensure_writable());
  // As for ingest directories: no sweeper meets a directory without its lock.
  FileLock making = TRY(store.locks().making_ingest());
  TRY(make_directory(directory()));
  std::optional<FileLock> held =
      TRY(FileLock::try_lock(directory() + "/lock", FileLock::Mode::kExclusive));
  if (!held) return Error(ErrorKind::kConflict, directory() + " is locked by another process");
  lock = std::move(*held).take();
  return {};
}

// Readers see the whole record or none. A build that ran steps has waited for the disk already;
// one of hits alone takes milliseconds, which a sync would double.
Result<void> BuildRecordWriter::Impl::write(const std::string& text) {
  const std::string path = directory() + "/record.json";
  UniqueFd fd = TRY(open_file(path + ".new", O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600));
  TRY(write_all(fd.get(), text, path));
  if (lock) TRY(sync_fd(fd.get(), path));
  if (::rename((path + ".new").c_str(), path.c_str()) != 0)
    return Error::from_errno(errno, "rename to " + path);
  return {};
}

void BuildRecordWriter::Impl::drop_old() {
  Result<std::vector<std::string>> ids = build_ids(store);
  if (!ids || ids->size() <= kKeptBuilds) return;
  {
    Result<std::optional<FileLock>> sweeping = store.locks().sweeping_ingests();
    if (!sweeping || !*sweeping) return;  // the next build does it
    for (size_t i = kKeptBuilds; i < ids->size(); ++i)
      if ((*ids)[i] != id) trash_unless_alive(store, (*ids)[i], "");
  }
  store.empty_trash();
}

void BuildRecordWriter::Impl::drop_failed_trees() {
  Result<std::vector<std::string>> ids = build_ids(store);
  if (!ids) return;
  {
    Result<std::optional<FileLock>> sweeping = store.locks().sweeping_ingests();
    if (!sweeping || !*sweeping) return;
    size_t kept = 1;  // this one
    for (const std::string& other : *ids) {
      if (other == id || !is_directory(store.path("builds/" + other + "/failed"))) continue;
      if (kept < kKeptFailedTrees || !trash_unless_alive(store, other, "/failed")) ++kept;
    }
  }
  store.empty_trash();
}

BuildRecordWriter::BuildRecordWriter(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
BuildRecordWriter::~BuildRecordWriter() = default;

Result<std::unique_ptr<BuildRecordWriter>> BuildRecordWriter::begin(Store& store) {
  return std::unique_ptr<BuildRecordWriter>(new BuildRecordWriter(std::make_unique<Impl>(store)));
}

const std::string& BuildRecordWriter::id() const { return impl_->id; }
std::string BuildRecordWriter::directory() const { return impl_->directory(); }

std::string BuildRecordWriter::log_name(size_t step_index) {
  return std::to_string(step_index) + ".log";
}

std::string BuildRecordWriter::log_path(size_t step_index) const {
  return directory() + "/logs/" + log_name(step_index);
}

Result<UniqueFd> BuildRecordWriter::open_log(size_t step_index) {
  TRY_CONTEXT(impl_->make(), "keep the log of a step");
  TRY(make_directory(directory() + "/logs"));
  return open_file(log_path(step_index), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_NOFOLLOW,
                   0600);
}

Result<std::string> BuildRecordWriter::failed_directory() {
  TRY_CONTEXT(impl_->make(), "keep the failed step");
  std::string path = directory() + "/failed";
  TRY(make_directory(path));
  impl_->drop_failed_trees();
  return path;
}

Result<void> BuildRecordWriter::finish(const BuildRecord& record) {
  BuildRecord own = record;
  own.id = impl_->id;
  const std::string text = serialize_build_record(own);
  auto store_it = [&]() -> Result<void> {
    TRY(impl_->store.ensure_writable());
    FileLock making = TRY(impl_->store.locks().making_ingest());
    TRY(make_directory(directory()));
    return impl_->write(text);
  };
  TRY_CONTEXT(store_it(), "keep the record of the build");
  impl_->drop_old();
  return {};
}

Result<std::vector<BuildRecord>> list_builds(Store& store, size_t limit,
                                             std::vector<std::string>* warnings) {
  std::vector<BuildRecord> out;
  for (const std::string& id : TRY(build_ids(store))) {
    if (out.size() >= limit) break;
    if (auto record = read_or_warn(store, id, warnings)) out.push_back(std::move(*record));
  }
  return out;
}

std::vector<std::pair<std::string, std::string>> damaged_build_records(const Store& store) {
  std::vector<std::pair<std::string, std::string>> out;
  Result<std::vector<std::string>> ids = build_ids(store);
  if (!ids) return out;
  for (const std::string& id : *ids) {
    Result<BuildRecord> record = read_record(store, id);
    if (record || was_not_written(store, id, record.error())) continue;
    out.emplace_back(id, record.error().full_message());
  }
  return out;
}

Result<std::optional<BuildRecord>> last_build_of(Store& store, const std::string& tag_or_id,
                                                 std::vector<std::string>* warnings) {
  for (const std::string& id : TRY(build_ids(store))) {
    const bool by_id = tag_or_id.size() >= kMinIdPrefix && id.starts_with(tag_or_id);
    auto record = read_or_warn(store, id, warnings);
    if (record && (by_id || is_meant(*record, tag_or_id))) return record;
  }
  return std::optional<BuildRecord>();
}

Result<std::string> build_log_path(Store& store, const BuildRecord& build, const StepRecord& step) {
  if (step.log.empty())
    return Error(ErrorKind::kNotFound, "the step \"" + step.name + "\" of build " + build.id +
                                           " has no log" + (step.cached ? ": it was cached" : ""));
  if (step.log.find('/') != std::string::npos || step.log.starts_with('.') ||
      !is_build_id(build.id))
    return Error(ErrorKind::kCorrupt, "the record of build " + build.id + " is damaged");
  return store.path("builds/" + build.id + "/logs/" + step.log);
}

Result<std::string> read_build_log(Store& store, const BuildRecord& build, const StepRecord& step,
                                   uint64_t max_bytes) {
  const std::string path = TRY(build_log_path(store, build, step));
  UniqueFd fd = TRY(open_file(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
  struct stat st;
  if (::fstat(fd.get(), &st) != 0) return Error::from_errno(errno, "stat " + path);
  if (!S_ISREG(st.st_mode)) return Error(ErrorKind::kCorrupt, path + " is not a plain file");
  const uint64_t size = static_cast<uint64_t>(st.st_size);
  if (size > max_bytes && ::lseek(fd.get(), static_cast<off_t>(size - max_bytes), SEEK_SET) < 0)
    return Error::from_errno(errno, "seek " + path);
  // A log that still grows is read up to where it ended.
  std::string text(static_cast<size_t>(std::min(size, max_bytes)), '\0');
  FdSource source(fd.get(), path);
  text.resize(TRY(read_full(source, {reinterpret_cast<uint8_t*>(text.data()), text.size()})));
  return text;
}

uint64_t build_records_size(Store& store) {
  return cache_data_sizes(store, {store.path("builds")}).front();
}

std::optional<std::string> failed_directory_of(Store& store, const std::string& build_id) {
  if (!is_build_id(build_id)) return std::nullopt;
  std::string path = store.path("builds/" + build_id + "/failed");
  if (!is_directory(path)) return std::nullopt;
  return path;
}

}  // namespace kasane::store
