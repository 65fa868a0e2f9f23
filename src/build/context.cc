#include "build/context.h"

#include <dirent.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace kasane::build {
namespace {

constexpr size_t kReadChunk = 256 * 1024;

int64_t to_ns(const timespec& t) { return t.tv_sec * 1'000'000'000ll + t.tv_nsec; }

// docker sends these two kinds from a context; the rest (ACLs, SELinux labels) belongs to
// the machine, not to the project.
bool is_portable_xattr(std::string_view name) {
  return name == "security.capability" ||
         (name.starts_with("user.") && !name.starts_with("user.overlay."));
}

// lgetxattr has no *at form: the path goes through /proc/self/fd of the open parent.
std::vector<tar::Xattr> read_xattrs(int directory_fd, const char* name) {
  std::string path = "/proc/self/fd/" + std::to_string(directory_fd) + "/" + name;
  char names[16384];
  ssize_t size = ::llistxattr(path.c_str(), names, sizeof names);
  std::vector<tar::Xattr> xattrs;
  for (ssize_t at = 0; at < size;) {
    std::string key = names + at;
    at += static_cast<ssize_t>(key.size()) + 1;
    if (!is_portable_xattr(key)) continue;
    char value[65536];
    ssize_t length = ::lgetxattr(path.c_str(), key.c_str(), value, sizeof value);
    if (length >= 0) xattrs.push_back({key, std::string(value, static_cast<size_t>(length))});
  }
  std::sort(xattrs.begin(), xattrs.end());
  return xattrs;
}

Result<std::string> read_link(int directory_fd, const char* name) {
  char target[4096];
  ssize_t size = ::readlinkat(directory_fd, name, target, sizeof target);
  if (size < 0) return Error::from_errno(errno, "read link " + std::string(name));
  return std::string(target, static_cast<size_t>(size));
}

tar::EntryType type_of(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFDIR:
      return tar::EntryType::kDirectory;
    case S_IFLNK:
      return tar::EntryType::kSymlink;
    case S_IFCHR:
      return tar::EntryType::kCharDevice;
    case S_IFBLK:
      return tar::EntryType::kBlockDevice;
    case S_IFIFO:
      return tar::EntryType::kFifo;
    default:
      return tar::EntryType::kFile;  // a socket arrives as an empty file (reference K19)
  }
}

Error changed(std::string_view path) {
  return Error(ErrorKind::kConflict,
               "file in the build context changed while it was read: " + std::string(path))
      .hint("run the build again when nothing writes to the context");
}

// Reads an open context file and, at its end, makes sure that it is still the file that the
// walk saw: a digest or a layer made of half of each version must never be kept.
class ContextFileSource : public ByteSource {
 public:
  ContextFileSource(UniqueFd fd, const SourceEntry& entry)
      : fd_(std::move(fd)),
        path_(entry.entry.path),
        mtime_ns_(entry.mtime_check_ns),
        ctime_ns_(entry.ctime_check_ns) {}

  Result<size_t> read(std::span<uint8_t> buffer) override {
    size_t n = TRY(read_some(fd_.get(), buffer, path_));
    if (n > 0) return n;
    struct stat st;
    if (::fstat(fd_.get(), &st) != 0) return Error::from_errno(errno, "stat " + path_);
    if (to_ns(st.st_mtim) != mtime_ns_ || to_ns(st.st_ctim) != ctime_ns_) return changed(path_);
    return n;
  }

 private:
  UniqueFd fd_;
  std::string path_;
  int64_t mtime_ns_, ctime_ns_;
};

}  // namespace

Result<std::unique_ptr<ContextTree>> ContextTree::open(const std::string& directory,
                                                       dockerfile::IgnoreMatcher ignore,
                                                       std::string ignore_name,
                                                       const std::string& stat_cache_path) {
  Result<UniqueFd> root = open_file(directory, O_RDONLY | O_DIRECTORY);
  if (!root) {
    if (root.error().kind() == ErrorKind::kNotFound)
      return Error(ErrorKind::kNotFound,
                   "unable to prepare context: path \"" + directory + "\" not found")
          .hint("give a directory, for example: kasane build .");
    return std::move(root.error()).context("unable to prepare context");
  }
  return std::unique_ptr<ContextTree>(new ContextTree(std::move(*root), directory, std::move(ignore),
                                                      std::move(ignore_name), stat_cache_path));
}

Result<std::optional<ContextTree::Node>> ContextTree::make_node(
    int directory_fd, const std::string& path, const char* name,
    const dockerfile::IgnoreVerdict& parent) {
  Node node;
  node.verdict = ignore_.child(parent, path);
  if (node.verdict.excluded && !ignore_.may_include_below(node.verdict, path))
    return std::optional<Node>();
  struct stat st;
  if (::fstatat(directory_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return std::optional<Node>();  // removed since readdir
    return Error::from_errno(errno, "stat " + path);
  }
  node.excluded = node.verdict.excluded;
  if (node.excluded && !S_ISDIR(st.st_mode)) return std::optional<Node>();
  node.identity = {st.st_dev, st.st_ino, static_cast<uint64_t>(st.st_size), to_ns(st.st_mtim),
                   to_ns(st.st_ctim)};
  node.source = std::make_shared<SourceEntry>();
  SourceEntry& source = *node.source;
  tar::Entry& entry = source.entry;
  entry.type = type_of(st.st_mode);
  entry.path = path;
  entry.mode = st.st_mode & 07777;
  entry.mtime = {st.st_mtim.tv_sec, static_cast<uint32_t>(st.st_mtim.tv_nsec)};
  source.mtime_check_ns = node.identity.mtime_ns;
  source.ctime_check_ns = node.identity.ctime_ns;
  bool look_for_xattrs = entry.type == tar::EntryType::kDirectory;
  if (S_ISREG(st.st_mode)) {
    entry.size = node.identity.size;
    if (st.st_nlink > 1) {
      source.link_group_device = st.st_dev;
      source.link_group_inode = st.st_ino;
    }
    std::optional<StatCache::Known> known = stat_cache_.find(node.identity);
    if (known) source.content = known->content;
    look_for_xattrs = !known || known->has_xattrs;
  } else if (entry.type == tar::EntryType::kSymlink) {
    entry.link_target = TRY(read_link(directory_fd, name));
  } else if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) {
    entry.dev_major = major(st.st_rdev);
    entry.dev_minor = minor(st.st_rdev);
  }
  if (look_for_xattrs) entry.xattrs = read_xattrs(directory_fd, name);
  return std::optional<Node>(std::move(node));
}

Result<void> ContextTree::read_names(const std::string& directory, Directory& into) {
  dockerfile::IgnoreVerdict verdict;
  if (!directory.empty()) {
    const Node* self = TRY(find(directory));
    if (!self) return {};
    verdict = self->verdict;
  }
  UniqueFd fd = TRY_CONTEXT(open_in_root(root_.get(), directory.empty() ? "." : directory,
                                         O_RDONLY | O_DIRECTORY | O_NOFOLLOW),
                            "read build context");
  DIR* dir = ::fdopendir(fd.get());
  if (!dir) return Error::from_errno(errno, "read directory " + directory);
  fd.release();
  std::unique_ptr<DIR, int (*)(DIR*)> guard(dir, &::closedir);
  while (dirent* item = ::readdir(dir)) {
    std::string_view name = item->d_name;
    if (name == "." || name == "..") continue;
    std::optional<Node> node =
        TRY(make_node(::dirfd(dir), join_path(directory, name), item->d_name, verdict));
    if (node) into.children.emplace(std::string(name), std::move(*node));
  }
  return {};
}

Result<const ContextTree::Directory*> ContextTree::load(const std::string& directory) {
  auto it = directories_.find(directory);
  if (it == directories_.end()) {
    Directory fresh;
    TRY(read_names(directory, fresh));
    it = directories_.emplace(directory, std::move(fresh)).first;
  }
  return &it->second;
}

Result<const ContextTree::Node*> ContextTree::find(std::string_view path) {
  // Walk down so that no listed component is a symlink or is excluded with all below it.
  const Node* node = nullptr;
  for (size_t end = 0; end < path.size();) {
    size_t begin = end == 0 ? 0 : end + 1;
    end = path.find('/', begin);
    if (end == std::string_view::npos) end = path.size();
    std::string directory(begin == 0 ? std::string_view() : path.substr(0, begin - 1));
    if (node && node->source->entry.type != tar::EntryType::kDirectory) return nullptr;
    const Directory* listed = TRY(load(directory));
    auto it = listed->children.find(std::string(path.substr(begin, end - begin)));
    if (it == listed->children.end()) return nullptr;
    node = &it->second;
  }
  return node;
}

Result<bool> ContextTree::has_included_below(const std::string& directory) {
  const Directory* listed = TRY(load(directory));
  for (const auto& [name, node] : listed->children) {
    if (!node.excluded) return true;
    if (TRY(has_included_below(node.source->entry.path))) return true;
  }
  return false;
}

Result<SourcePtr> ContextTree::lookup(std::string_view path) {
  std::lock_guard lock(mutex_);
  if (path.empty()) {
    auto root = std::make_shared<SourceEntry>();
    root->entry.type = tar::EntryType::kDirectory;
    root->entry.mode = 0755;
    struct stat st;
    if (::fstat(root_.get(), &st) == 0)
      root->entry.mtime = {st.st_mtim.tv_sec, static_cast<uint32_t>(st.st_mtim.tv_nsec)};
    return SourcePtr(std::move(root));
  }
  const Node* node = TRY(find(path));
  if (!node) return SourcePtr();
  if (node->excluded && !TRY(has_included_below(std::string(path)))) return SourcePtr();
  return SourcePtr(node->source);
}

Result<std::vector<SourcePtr>> ContextTree::children(std::string_view directory) {
  std::lock_guard lock(mutex_);
  std::vector<SourcePtr> entries;
  const Directory* listed = TRY(load(std::string(directory)));
  entries.reserve(listed->children.size());
  for (const auto& [name, node] : listed->children)
    if (!node.excluded || TRY(has_included_below(node.source->entry.path)))
      entries.push_back(node.source);
  return entries;
}

Result<std::unique_ptr<ByteSource>> ContextTree::open(const SourceEntry& entry) {
  UniqueFd fd = TRY_CONTEXT(
      open_in_root(root_.get(), entry.entry.path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY),
      "read build context");
  struct stat st;
  if (::fstat(fd.get(), &st) != 0) return Error::from_errno(errno, "stat " + entry.entry.path);
  if (S_ISSOCK(st.st_mode)) return std::unique_ptr<ByteSource>(std::make_unique<MemorySource>(""));
  if (!S_ISREG(st.st_mode) || static_cast<uint64_t>(st.st_size) != entry.entry.size)
    return changed(entry.entry.path);
  return std::unique_ptr<ByteSource>(std::make_unique<ContextFileSource>(std::move(fd), entry));
}

Result<Sha256Digest> ContextTree::digest(const SourceEntry& entry) {
  if (entry.content) return *entry.content;
  {
    // Another step may have read the file since this entry was handed out.
    std::lock_guard lock(mutex_);
    const Node* node = TRY(find(entry.entry.path));
    if (node && node->source->content) return *node->source->content;
  }
  std::unique_ptr<ByteSource> source = TRY(open(entry));
  Sha256 hash;
  auto buffer = std::make_unique<uint8_t[]>(kReadChunk);
  for (;;) {
    size_t n = TRY(source->read(std::span(buffer.get(), kReadChunk)));
    if (n == 0) break;
    hash.update(std::span<const uint8_t>(buffer.get(), n));
  }
  Sha256Digest digest = hash.finish();
  learned(entry, digest);
  return digest;
}

void ContextTree::learned(const SourceEntry& entry, const Sha256Digest& digest) {
  std::lock_guard lock(mutex_);
  Result<const Node*> found = find(entry.entry.path);
  if (!found || !*found) return;
  const Node& node = **found;
  if (node.source->ctime_check_ns != entry.ctime_check_ns || node.source->content) return;
  // Other holders of the entry keep the pointer, so the digest goes into a new one.
  auto known = std::make_shared<SourceEntry>(*node.source);
  known->content = digest;
  const_cast<Node&>(node).source = std::move(known);
  stat_cache_.remember(node.identity, {digest, !node.source->entry.xattrs.empty()});
}

std::string ContextTree::why_absent(std::string_view path) {
  const dockerfile::IgnorePattern* pattern = ignore_.deciding(path);
  if (!pattern || pattern->negated) return {};
  struct stat st;
  Result<UniqueFd> fd = open_in_root(root_.get(), std::string(path), O_PATH | O_NOFOLLOW);
  if (!fd || ::fstat(fd->get(), &st) != 0) return {};
  return "it exists, but line " + std::to_string(pattern->line) + " of " + ignore_name_ + " (" +
         pattern->text + ") excludes it";
}

}  // namespace kasane::build
