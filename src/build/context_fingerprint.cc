// The warm path of `COPY . .`: one stat per file and one hash over what they say, in the
// order in which the directories list them, which does not change while nothing else does.
#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>

#include "build/context.h"

namespace kasane::build {
namespace {

constexpr int64_t kRacyNs = 100'000'000;  // as in StatCache

int64_t to_ns(const timespec& t) { return t.tv_sec * 1'000'000'000ll + t.tv_nsec; }

int64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return to_ns(now);
}

}  // namespace

struct ContextTree::FingerprintWalk {
  Sha256 hash;
  std::string buffer;
  int64_t latest_change_ns = 0;

  void add(std::string_view name, const struct stat& st) {
    const uint64_t fields[] = {st.st_dev,
                               st.st_ino,
                               st.st_mode,
                               st.st_nlink,
                               static_cast<uint64_t>(st.st_size),
                               static_cast<uint64_t>(to_ns(st.st_mtim)),
                               static_cast<uint64_t>(to_ns(st.st_ctim)),
                               name.size()};
    buffer.append(reinterpret_cast<const char*>(fields), sizeof fields);
    buffer += name;
    latest_change_ns = std::max(latest_change_ns, to_ns(st.st_ctim));
    if (buffer.size() > 60'000) flush();
  }
  void flush() {
    hash.update(buffer);
    buffer.clear();
  }
};

Result<void> ContextTree::fingerprint_directory(FingerprintWalk& walk, int fd,
                                                const std::string& path,
                                                const dockerfile::IgnoreVerdict& verdict) {
  DIR* dir = ::fdopendir(fd);
  if (!dir) {
    int error = errno;
    ::close(fd);
    return Error::from_errno(error, "read directory " + path);
  }
  std::unique_ptr<DIR, int (*)(DIR*)> guard(dir, &::closedir);
  while (dirent* item = ::readdir(dir)) {
    std::string_view name = item->d_name;
    if (name == "." || name == "..") continue;
    dockerfile::IgnoreVerdict below;
    std::string child;
    const bool filtered = !ignore_.empty();
    if (filtered || item->d_type == DT_DIR || item->d_type == DT_UNKNOWN) child = join_path(path, name);
    if (filtered) {
      below = ignore_.child(verdict, child);
      if (below.excluded && !ignore_.may_include_below(below, child)) continue;
    }
    struct stat st;
    if (::fstatat(::dirfd(dir), item->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) continue;
      return Error::from_errno(errno, "stat " + join_path(path, name));
    }
    walk.add(name, st);
    if (!S_ISDIR(st.st_mode)) continue;
    Result<UniqueFd> inner =
        open_at(::dirfd(dir), item->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (!inner) return std::move(inner.error()).context("read build context: " + child);
    TRY(fingerprint_directory(walk, inner->release(), child, below));
    walk.add("/", st);  // end of the directory
  }
  return {};
}

Result<std::optional<ContextTree::Fingerprint>> ContextTree::fingerprint(const std::string& path) {
  std::lock_guard lock(fingerprint_mutex_);
  if (auto it = fingerprints_.find(path); it != fingerprints_.end())
    return std::optional<Fingerprint>(it->second);
  const int64_t started_ns = now_ns();
  FingerprintWalk walk;
  for (const dockerfile::IgnorePattern& pattern : ignore_.patterns())
    walk.buffer += (pattern.negated ? '!' : ' ') + pattern.text + '\n';

  // Every directory on the way counts too, and none may be a symlink: this walk and the
  // planner's, which follows links, must mean the same files.
  UniqueFd at = TRY(open_at(root_.get(), ".", O_PATH | O_DIRECTORY));
  struct stat st;
  if (::fstat(at.get(), &st) != 0) return Error::from_errno(errno, "stat the build context");
  walk.add(path_, st);
  for (size_t begin = 0; begin < path.size();) {
    size_t end = std::min(path.find('/', begin), path.size());
    Result<UniqueFd> next = open_at(at.get(), path.substr(begin, end - begin), O_PATH | O_NOFOLLOW);
    if (!next) return std::optional<Fingerprint>();
    if (::fstat(next->get(), &st) != 0) return Error::from_errno(errno, "stat " + path);
    if (S_ISLNK(st.st_mode)) return std::optional<Fingerprint>();
    walk.add(path.substr(0, end), st);
    at = std::move(*next);
    begin = end + 1;
  }
  Fingerprint result;
  result.is_directory = S_ISDIR(st.st_mode);
  if (result.is_directory) {
    UniqueFd directory = TRY_CONTEXT(open_at(at.get(), ".", O_RDONLY | O_DIRECTORY), "read build context");
    dockerfile::IgnoreVerdict verdict;
    if (!path.empty()) verdict = ignore_.verdict(path);
    TRY(fingerprint_directory(walk, directory.release(), path, verdict));
  }
  walk.flush();
  result.digest = walk.hash.finish();
  result.settled = started_ns - walk.latest_change_ns > kRacyNs;
  fingerprints_.emplace(path, result);
  return std::optional<Fingerprint>(result);
}

}  // namespace kasane::build
