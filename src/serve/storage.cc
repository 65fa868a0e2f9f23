#include "serve/storage.h"

#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <ctime>

#include "serve/upload_state.h"

namespace kasane::serve {
namespace {

constexpr uint64_t kMaxMarker = 4096;
// A client that is told that a blob is there will refer to it soon. Garbage collection goes by
// the age of the link, so the link is made young again, but not at every question.
constexpr std::time_t kTouchAfter = 600;

std::optional<uint64_t> parse_size(std::string_view text) {
  while (!text.empty() && text.back() == '\n') text.remove_suffix(1);
  uint64_t size = 0;
  auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), size);
  if (failed != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return size;
}

Result<bool> has_size(const std::string& path, uint64_t size) {
  struct stat st;
  if (::stat(path.c_str(), &st) == 0)
    return S_ISREG(st.st_mode) && static_cast<uint64_t>(st.st_size) == size;
  if (errno == ENOENT) return false;
  return Error::from_errno(errno, "stat " + path);
}

void keep_young(const std::string& path) {
  struct stat st;
  if (::stat(path.c_str(), &st) == 0 && std::time(nullptr) - st.st_mtime > kTouchAfter)
    ::utimensat(AT_FDCWD, path.c_str(), nullptr, 0);
}

// What a server that died left in tmp/. Nobody else writes while lock.serve is held.
Result<void> sweep_temporary(const Layout& layout) {
  for (const std::string& name : TRY(list_directory(layout.temporary())))
    ::unlink((layout.temporary() + "/" + name).c_str());
  return {};
}

// A folder with other things in it is a mistyped --root, and must not be filled.
Result<void> refuse_foreign_folder(const Layout& layout) {
  if (TRY(exists(layout.serve_lock()))) return {};
  std::vector<std::string> names = TRY(list_directory(layout.root()));
  if (names.empty()) return {};
  return Error(ErrorKind::kConflict, "the folder " + layout.root() + " holds other files (" +
                                         names.front() + ", ...) and is not a registry's")
      .hint("name an empty or new folder with --root");
}

}  // namespace

Result<UniqueFd> lock_file(const std::string& path, bool exclusive) {
  UniqueFd fd = TRY(open_file(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0644));
  while (::flock(fd.get(), exclusive ? LOCK_EX : LOCK_SH) != 0)
    if (errno != EINTR) return Error::from_errno(errno, "lock " + path);
  return fd;
}

Result<std::optional<UniqueFd>> try_lock_file(const std::string& path) {
  UniqueFd fd = TRY(open_file(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0644));
  while (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return std::optional<UniqueFd>();
    if (errno != EINTR) return Error::from_errno(errno, "lock " + path);
  }
  return std::optional<UniqueFd>(std::move(fd));
}

Storage::Storage(std::string root) : layout_(std::move(root)) {}
Storage::~Storage() = default;

Result<std::unique_ptr<Storage>> Storage::open(const std::string& root, bool read_only) {
  std::unique_ptr<Storage> out(new Storage(root));
  const Layout& layout = out->layout_;
  if (read_only) {
    TRY_CONTEXT(open_file(root, O_RDONLY | O_DIRECTORY), "registry folder");
    return out;
  }
  TRY(make_directories(root));
  TRY(refuse_foreign_folder(layout));
  auto lock = TRY(try_lock_file(layout.serve_lock()));
  if (!lock)
    return Error(ErrorKind::kConflict, "another kasane registry serves " + root)
        .hint("stop it, name another --root, or serve this one --read-only");
  out->serve_lock_ = std::move(*lock);
  TRY(out->hold());  // makes the file
  for (const std::string& folder : {layout.blobs(), layout.repositories(), layout.temporary()})
    TRY(ensure_directory(folder));
  TRY(sweep_temporary(layout));
  return out;
}

Result<UniqueFd> Storage::hold() {
  UniqueFd gate = TRY(lock_file(layout_.gate_lock(), false));
  return lock_file(layout_.gc_lock(), false);
}

std::mutex& Storage::repository_mutex(const std::string& name) {
  return repository_mutexes_[std::hash<std::string>()(name) % repository_mutexes_.size()];
}

Result<std::optional<BlobInfo>> Storage::find_blob(const std::string& name,
                                                   const ContentDigest& digest) {
  const std::string link = layout_.blob_link(name, digest);
  auto text = TRY(read_if_there(link, kMaxMarker));
  if (!text) return std::optional<BlobInfo>();
  auto size = parse_size(*text);
  // A damaged blob is a missing one (R7): the next push repairs it.
  if (!size || !TRY(has_size(layout_.blob(digest), *size))) return std::optional<BlobInfo>();
  if (serve_lock_) keep_young(link);
  return std::optional<BlobInfo>(BlobInfo{*size});
}

Result<UniqueFd> Storage::open_content(const ContentDigest& digest) {
  return open_file(layout_.blob(digest), O_RDONLY);
}

Result<void> Storage::link_blob(const std::string& name, const ContentDigest& digest,
                                uint64_t size) {
  return publish(layout_, layout_.blob_link(name, digest), fmt::format("{}\n", size));
}

Result<bool> Storage::mount(const std::string& name, const std::string& from,
                            const ContentDigest& digest) {
  UniqueFd held = TRY(hold());
  uint64_t size = 0;
  if (!from.empty()) {
    auto info = TRY(find_blob(from, digest));
    if (!info) return false;
    size = info->size;
  } else {
    struct stat st;
    if (::stat(layout_.blob(digest).c_str(), &st) != 0) {
      if (errno == ENOENT) return false;
      return Error::from_errno(errno, "stat blob " + digest.str());
    }
    size = static_cast<uint64_t>(st.st_size);
  }
  TRY(link_blob(name, digest, size));
  return true;
}

Result<bool> Storage::remove_blob(const std::string& name, const ContentDigest& digest) {
  UniqueFd held = TRY(hold());
  return remove_durably(layout_.blob_link(name, digest));
}

std::string manifest_marker(const ManifestInfo& info) {
  return fmt::format("{}\n{}\n", info.media_type, info.size);
}

std::optional<ManifestInfo> parse_manifest_marker(const ContentDigest& digest,
                                                  std::string_view text) {
  size_t line = text.find('\n');
  if (line == std::string_view::npos) return std::nullopt;
  auto size = parse_size(text.substr(line + 1));
  if (!size) return std::nullopt;
  return ManifestInfo{digest, std::string(text.substr(0, line)), *size};
}

Result<std::optional<ManifestInfo>> Storage::find_manifest(const std::string& name,
                                                           const ContentDigest& digest) {
  auto text = TRY(read_if_there(layout_.manifest(name, digest), kMaxMarker));
  if (!text) return std::optional<ManifestInfo>();
  auto info = parse_manifest_marker(digest, *text);
  if (!info || !TRY(has_size(layout_.blob(digest), info->size)))
    return std::optional<ManifestInfo>();
  return info;
}

Result<std::optional<ContentDigest>> Storage::find_tag(const std::string& name,
                                                       const std::string& tag) {
  auto text = TRY(read_if_there(layout_.tag(name, tag), kMaxMarker));
  if (!text) return std::optional<ContentDigest>();
  std::string_view digest = *text;
  while (!digest.empty() && digest.back() == '\n') digest.remove_suffix(1);
  return ContentDigest::parse(digest);
}

}  // namespace kasane::serve
