#include "exec/sandbox/copied_trees.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <utility>

#include "base/fd.h"
#include "exec/sandbox/image_root.h"
#include "exec/sandbox/tree_copy.h"
#include "exec/userns.h"

namespace kasane::exec {
namespace {

constexpr uint64_t kMaxMarksBytes = uint64_t{4} << 30;
constexpr size_t kMaxReportBytes = 32 << 10;  // less than a pipe holds
constexpr int kDirectoryFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;

// Runs `work` where the owners of the trees exist and brings its error back.
Result<void> in_mapped(const std::function<Result<void>()>& work) {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) return Error::from_errno(errno, "pipe");
  UniqueFd reader(fds[0]), writer(fds[1]);
  Result<int> status = run_in_mapped_userns([&]() -> int {
    rlimit files;  // two descriptors per level of a tree
    if (::getrlimit(RLIMIT_NOFILE, &files) == 0) {
      files.rlim_cur = files.rlim_max;
      ::setrlimit(RLIMIT_NOFILE, &files);
    }
    Result<void> done = work();
    if (done) return 0;
    std::string text(1, static_cast<char>(done.error().kind()));
    text += done.error().full_message().substr(0, kMaxReportBytes);
    return write_all(writer.get(), text, "report") ? 1 : 2;
  });
  writer.reset();
  if (!status) return std::move(status.error());
  if (*status == 0) return {};
  std::string text = TRY(read_fd(reader.get(), 2 * kMaxReportBytes, "report"));
  if (text.empty())
    return Error(ErrorKind::kIo,
                 "the process that copies layers ended with status " + std::to_string(*status));
  return Error(static_cast<ErrorKind>(text[0]), text.substr(1));
}

// Marks on disk: name '\0', the mark, kind, number of children, then the children.
void encode(const std::string& name, const CopiedNode& node, std::string& out) {
  out.append(name).push_back('\0');
  const uint64_t count = node.children.size();
  out.append(reinterpret_cast<const char*>(&node.mark), sizeof node.mark);
  out.push_back(node.directory ? 'd' : 'f');
  out.append(reinterpret_cast<const char*>(&count), sizeof count);
  for (const auto& [child, below] : node.children) encode(child, below, out);
}

bool decode(std::string_view& in, std::string& name, CopiedNode& node) {
  size_t end = in.find('\0');
  uint64_t count = 0;
  if (end == std::string_view::npos) return false;
  name = std::string(in.substr(0, end));
  in.remove_prefix(end + 1);
  if (in.size() < sizeof node.mark + 1 + sizeof count) return false;
  std::memcpy(&node.mark, in.data(), sizeof node.mark);
  node.directory = in[sizeof node.mark] == 'd';
  std::memcpy(&count, in.data() + sizeof node.mark + 1, sizeof count);
  in.remove_prefix(sizeof node.mark + 1 + sizeof count);
  for (; count > 0; --count) {
    std::string child;
    CopiedNode below;
    if (!decode(in, child, below)) return false;
    node.children.emplace_hint(node.children.end(), std::move(child), std::move(below));
  }
  return true;
}

// /dev, /proc and /sys must be real directories before anything is mounted on them. What
// the image has in such a place is put aside.
Result<void> shape(int root, int aside) {
  for (const char* name : kShapedDirectories) {
    struct stat st;
    if (::fstatat(root, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
      if (S_ISDIR(st.st_mode)) continue;
      if (::renameat(root, name, aside, name) != 0)
        return Error::from_errno(errno, std::string("put /") + name + " of the image aside");
    }
    if (::mkdirat(root, name, 0755) != 0)
      return Error::from_errno(errno, std::string("create /") + name);
  }
  return {};
}

Result<void> unshape(int root, int aside, const CopiedNode& before,
                     std::vector<uint64_t>& untouched) {
  for (const char* name : kShapedDirectories) {
    auto known = before.children.find(name);
    const bool ours = known == before.children.end() || !known->second.directory;
    if (!ours) continue;
    if (::unlinkat(root, name, AT_REMOVEDIR) != 0 && errno != ENOENT)
      return Error::from_errno(errno, std::string("remove the mount point /") + name);
    if (known == before.children.end()) continue;
    if (::renameat(aside, name, root, name) != 0)
      return Error::from_errno(errno, std::string("put back /") + name);
    untouched.push_back(known->second.mark.inode);
  }
  return {};
}

Result<bool> is_empty(const std::string& directory) {
  UniqueFd fd = TRY(open_file(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  return TRY(directory_names(fd.get())).empty();
}

}  // namespace

Result<CopiedTrees> CopiedTrees::make(const RunSpec& spec, Storage storage, bool userxattr) {
  CopiedTrees trees;
  trees.storage_ = storage;
  trees.userxattr_ = userxattr;
  trees.views_.resize(spec.mounts.size());
  if (storage == Storage::kOverlay) return trees;
  const bool views = std::any_of(spec.mounts.begin(), spec.mounts.end(), [](const Mount& mount) {
    return mount.type == Mount::Type::kOverlay;
  });
  if (storage == Storage::kFuseOverlay && !views) return trees;
  trees.directory_ = spec.work_dir + ".copy";
  if (::mkdir(trees.directory_.c_str(), 0700) != 0)
    return Error::from_errno(errno, "create " + trees.directory_);
  if (storage == Storage::kCopy) trees.root_ = trees.directory_ + "/root";
  for (size_t i = 0; i < spec.mounts.size(); ++i) {
    const Mount& mount = spec.mounts[i];
    if (mount.type != Mount::Type::kOverlay) continue;
    trees.views_[i] =
        mount.read_only ? trees.directory_ + "/view" + std::to_string(i) : mount.upper_dir;
  }
  TRY_CONTEXT(in_mapped([&] { return trees.copy_all(spec); }), "copy the layers for RUN");
  trees.keep_changes_ = ::access((trees.directory_ + "/marks").c_str(), F_OK) == 0;
  return trees;
}

CopiedTrees::CopiedTrees(CopiedTrees&& other) noexcept
    : storage_(other.storage_),
      userxattr_(other.userxattr_),
      keep_changes_(other.keep_changes_),
      directory_(std::exchange(other.directory_, "")),
      root_(std::move(other.root_)),
      views_(std::move(other.views_)) {}

CopiedTrees::~CopiedTrees() {
  if (directory_.empty()) return;
  (void)in_mapped([&] { return remove_tree(directory_); });
  (void)remove_tree(directory_);
}

// In the mapped child.
Result<void> CopiedTrees::copy_all(const RunSpec& spec) {
  for (size_t i = 0; i < spec.mounts.size(); ++i) {
    const Mount& mount = spec.mounts[i];
    if (views_[i].empty()) continue;
    if (mount.read_only) TRY(make_directories(views_[i], 0755));
    // A cache that was written to before has its base in it already.
    if (!mount.read_only && !TRY(is_empty(views_[i]))) continue;
    (void)TRY(copy_merged(mount.lower_trees, views_[i], userxattr_));
  }
  if (root_.empty()) return {};
  TRY(make_directories(root_, 0755));
  TRY(make_directories(directory_ + "/aside", 0700));
  std::vector<std::string> lowers = spec.lower_trees;
  // A failed step that is entered again: its changes are there, new ones are not kept.
  const bool fresh = TRY(is_empty(spec.upper_dir));
  if (!fresh) lowers.push_back(spec.upper_dir);
  CopiedNode before = TRY(copy_merged(lowers, root_, userxattr_));
  UniqueFd root = TRY(open_file(root_, kDirectoryFlags));
  UniqueFd aside = TRY(open_file(directory_ + "/aside", kDirectoryFlags));
  TRY(shape(root.get(), aside.get()));
  if (!fresh) return {};
  std::string marks;
  encode("", before, marks);
  UniqueFd file = TRY(open_file(directory_ + "/marks", O_WRONLY | O_CREAT | O_EXCL, 0600));
  return write_all(file.get(), marks, "marks of the copied layers");
}

// In the mapped child.
Result<void> CopiedTrees::difference(const RunSpec& spec) {
  std::string text = TRY(read_file(directory_ + "/marks", kMaxMarksBytes));
  std::string_view rest = text;
  std::string name;
  CopiedNode before;
  if (!decode(rest, name, before))
    return Error(ErrorKind::kInternal, "the marks of the copied layers are damaged");
  std::vector<uint64_t> untouched;
  if (auto noted = read_file(untouched_file(), 1 << 20)) {
    untouched.resize(noted->size() / sizeof(uint64_t));
    std::memcpy(untouched.data(), noted->data(), untouched.size() * sizeof(uint64_t));
  }
  UniqueFd root = TRY(open_file(root_, kDirectoryFlags));
  UniqueFd aside = TRY(open_file(directory_ + "/aside", kDirectoryFlags));
  TRY(unshape(root.get(), aside.get(), before, untouched));
  return move_changes(root_, before, untouched, spec.upper_dir, userxattr_);
}

Result<void> CopiedTrees::finish(const RunSpec& spec) {
  if (storage_ == Storage::kOverlay) return {};
  if (storage_ == Storage::kFuseOverlay)
    return in_mapped([&]() -> Result<void> {
      UniqueFd fd =
          TRY_CONTEXT(open_file(spec.upper_dir, kDirectoryFlags), "read the result of RUN");
      MergedDirectory below = TRY(MergedDirectory::open(spec.lower_trees, userxattr_));
      return settle_fuse_upper(fd.get(), below, userxattr_);
    });
  if (!keep_changes_) return {};
  return in_mapped([&] { return difference(spec); });
}

}  // namespace kasane::exec
