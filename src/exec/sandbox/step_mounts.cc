#include "exec/sandbox/step_mounts.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "exec/sandbox/image_root.h"
#include "exec/sandbox/mount_calls.h"

namespace kasane::exec {
namespace {

using Path = FixedText<4352>;

class StepMounts {
 public:
  StepMounts(const Reporter& report, const LaunchPlan& plan, int root_fd)
      : report_(report), plan_(plan), root_fd_(root_fd) {}

  void run() {
    for (size_t i = 0; i < plan_.mount_count; ++i) mount_one(plan_.mounts[i]);
  }

 private:
  void mount_one(const MountPlan& mount) {
    switch (mount.type) {
      case Mount::Type::kBind:
        return mount_bind(mount);
      case Mount::Type::kTmpfs:
        return mount_tmpfs(mount);
      case Mount::Type::kOverlay:
        return mount_view(mount);
      case Mount::Type::kFile:
        return mount_file(mount);
      case Mount::Type::kSocket:
        return mount_socket(mount);
    }
  }

  static uint64_t attributes_of(const MountPlan& mount) {
    return MOUNT_ATTR_NODEV | (mount.read_only ? MOUNT_ATTR_RDONLY : 0) |
           (mount.no_exec ? MOUNT_ATTR_NOEXEC : 0);
  }

  void put(int tree, const MountPlan& mount, bool directory) {
    attach_in_image(report_, plan_, root_fd_, tree, mount.target,
                    directory ? WalkKind::kDirectory : WalkKind::kFile);
  }

  int open_source(const MountPlan& mount, uint64_t attributes, struct stat& st) {
    int tree = clone_tree(AT_FDCWD, mount.source, attributes, true);
    if (tree < 0) report_.fail("open mount source", mount.source, errno);
    if (::fstat(tree, &st) != 0) report_.fail("stat mount source", mount.source, errno);
    if (S_ISLNK(st.st_mode)) report_.fail("open mount source", mount.source, ELOOP);
    return tree;
  }

  void mount_bind(const MountPlan& mount) {
    struct stat st;
    int tree = open_source(mount, attributes_of(mount), st);
    put(tree, mount, S_ISDIR(st.st_mode));
  }

  // connect(2) asks for write permission on the socket, not for a writable mount.
  void mount_socket(const MountPlan& mount) {
    struct stat st;
    int tree = open_source(mount, kInert, st);
    if (!S_ISSOCK(st.st_mode)) report_.fail("use as a socket", mount.source, ENOTSOCK);
    put(tree, mount, false);
  }

  void mount_tmpfs(const MountPlan& mount) {
    const Option options[] = {{"mode", mount.mode_text},
                              {"uid", mount.uid_text},
                              {"gid", mount.gid_text},
                              {"size", mount.size_bytes}};
    int fs = try_new_filesystem("tmpfs", options, mount.size_bytes != nullptr ? 4 : 3,
                                attributes_of(mount) | MOUNT_ATTR_NOSUID);
    if (fs < 0) report_.fail("mount new tmpfs for", mount.target, errno);
    put(fs, mount, true);
  }

  // A tmpfs over the work directory, whose own content overlayfs reaches without a name.
  void need_staging() {
    if (staging_fd_ >= 0) return;
    if (::mount("tmpfs", plan_.work, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=700") != 0)
      report_.fail("mount new tmpfs on", plan_.work, errno);
    staging_fd_ = ::open(plan_.work, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (staging_fd_ < 0) report_.fail("open", plan_.work, errno);
    for (const char* name : {"empty", "view", "files"})
      if (::mkdirat(staging_fd_, name, 0755) != 0) report_.fail("create directory", name, errno);
  }

  void staging_path(Path& path, const char* name) {
    path.add(plan_.work).add("/").add(name);
    if (path.overflowed()) report_.fail("mount below", plan_.work, ENAMETOOLONG);
  }

  // Secrets live in memory that is not swapped where the kernel allows it (not in a user
  // namespace), on a file system that no name leads to.
  void need_files() {
    need_staging();
    if (files_fd_ >= 0) return;
    const Option options[] = {{"mode", "0700"}, {"size", plan_.secrets_size}, {"noswap", nullptr}};
    uint64_t attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
    files_fd_ = try_new_filesystem("tmpfs", options, 3, attributes);
    if (files_fd_ < 0) files_fd_ = try_new_filesystem("tmpfs", options, 2, attributes);
    if (files_fd_ < 0) report_.fail("mount new", "tmpfs for secrets", errno);
    int place = ::openat(staging_fd_, "files", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (place < 0 || !attach(files_fd_, place))
      report_.fail("attach new", "tmpfs for secrets", errno);
    ::close(place);
  }

  void mount_file(const MountPlan& mount) {
    need_files();
    FixedText<32> name;
    name.add_number(++file_count_);
    int file = ::openat(files_fd_, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file < 0) report_.fail("create file for", mount.target, errno);
    std::string_view rest = mount.content;
    while (!rest.empty()) {
      ssize_t n = ::write(file, rest.data(), rest.size());
      if (n < 0) report_.fail("write file for", mount.target, errno);
      rest.remove_prefix(static_cast<size_t>(n));
    }
    if ((mount.uid != 0 || mount.gid != 0) && ::fchown(file, mount.uid, mount.gid) != 0)
      report_.fail("set the owner of mount", mount.target, errno);
    if (::fchmod(file, mount.mode) != 0) report_.fail("set the mode of", mount.target, errno);
    ::close(file);
    int tree = clone_tree(files_fd_, name.c_str(), attributes_of(mount) | MOUNT_ATTR_NOSUID, false);
    if (tree < 0) report_.fail("clone mount of file for", mount.target, errno);
    put(tree, mount, false);
  }

  static bool is_empty(int directory_fd) {
    int fd = ::openat(directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    alignas(8) char buffer[512];
    long n = ::syscall(SYS_getdents64, fd, buffer, sizeof buffer);
    ::close(fd);
    return n >= 0 && n <= 48;  // "." and ".."
  }

  // A new upper directory gets the looks of the topmost tree; a cache that is in use
  // already keeps its own.
  int open_upper(const RootPlan& view) {
    int upper = ::open(view.upper, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (upper < 0) report_.fail("open", view.upper, errno);
    // Left by an earlier run over the same work directory; the kernel would refuse it.
    int work = ::open(view.work, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (work < 0) report_.fail("open", view.work, errno);
    ::unlinkat(work, "work/incompat/volatile/dirty", 0);
    ::unlinkat(work, "work/incompat/volatile", AT_REMOVEDIR);
    ::close(work);
    if (view.lower_count == 0 || !is_empty(upper)) return upper;
    timespec times[2];
    times[0].tv_sec = 0;
    times[0].tv_nsec = UTIME_OMIT;
    copy_root_metadata(report_, view, upper, times[1]);
    ::futimens(upper, times);
    return upper;
  }

  // A copy in place of an overlay (storage modes without the kernel's).
  void mount_directory(const MountPlan& mount) {
    int root = ::open(mount.view_root, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (root < 0) report_.fail("open", mount.view_root, errno);
    put_sub_path(root, mount);
    ::close(root);
  }

  void mount_view(const MountPlan& mount) {
    if (mount.view_root != nullptr) return mount_directory(mount);
    need_staging();
    Path empty, place;
    staging_path(empty, "empty");
    staging_path(place, "view");
    RootPlan view{mount.lowers, mount.lower_count, mount.upper, mount.work, plan_.userxattr};
    int upper = mount.upper != nullptr ? open_upper(view) : -1;
    // Without an upper directory overlayfs wants two lowers, with one it wants one. A
    // plain bind of a single tree would show its marks of deleted files.
    if (view.lower_count < (upper < 0 ? 2u : 1u))
      const_cast<const char**>(mount.lowers)[view.lower_count++] = empty.c_str();
    if (view.lower_count < 2 && upper < 0) return mount_empty(mount);
    mount_overlay(report_, view, upper, place.c_str());
    int root = ::open(place.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0) report_.fail("open", place.view(), errno);
    put_sub_path(root, mount);
    ::close(root);
    if (upper >= 0) ::close(upper);
    // What was cloned keeps the file system alive.
    if (::umount2(place.c_str(), MNT_DETACH) != 0) report_.fail("unmount", place.view(), errno);
  }

  // A read-only view of nothing at all.
  void mount_empty(const MountPlan& mount) {
    int root = ::openat(staging_fd_, "empty", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0) report_.fail("open", "the empty tree", errno);
    put_sub_path(root, mount);
    ::close(root);
  }

  // Links on the way are confined to the view.
  void put_sub_path(int root, const MountPlan& mount) {
    int found = child_open_in_root(root, mount.sub_path, O_PATH);
    struct stat st;
    if (found < 0 || ::fstat(found, &st) != 0)
      report_.fail("find in the source of the mount:", mount.sub_path, errno);
    int tree = clone_tree(found, "", attributes_of(mount), false);
    if (tree < 0) report_.fail("clone mount for", mount.target, errno);
    ::close(found);
    put(tree, mount, S_ISDIR(st.st_mode));
  }

  const Reporter& report_;
  const LaunchPlan& plan_;
  int root_fd_;
  int staging_fd_ = -1;
  int files_fd_ = -1;
  uint64_t file_count_ = 0;
};

}  // namespace

void attach_in_image(const Reporter& report, const LaunchPlan& plan, int root_fd, int tree,
                     const char* path, WalkKind kind) {
  int target = walk_and_create(report, root_fd, path, kind, plan.stubs);
  struct statfs fs;
  if (::fstatfs(target, &fs) != 0) report.fail("statfs", path, errno);
  if (fs.f_type == PROC_SUPER_MAGIC || fs.f_type == SYSFS_MAGIC)
    report.fail("mount below /proc or /sys:", path, EPERM);
  if (!attach(tree, target)) report.fail("mount on", path, errno);
  ::close(target);
  ::close(tree);
}

void mount_requested(const Reporter& report, const LaunchPlan& plan, int root_fd) {
  StepMounts(report, plan, root_fd).run();
}

}  // namespace kasane::exec
