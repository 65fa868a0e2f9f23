#include "exec/sandbox/image_root.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "exec/sandbox/mount_calls.h"

namespace kasane::exec {
namespace {

constexpr int kDirectoryFlags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;

int open_directory(const Reporter& report, const char* path, int flags) {
  int fd = ::open(path, flags);
  if (fd < 0) report.fail("open", path, errno);
  return fd;
}

void shape_upper(const Reporter& report, const RootPlan& plan, int upper_fd) {
  timespec times[2];
  times[0].tv_sec = 0;
  times[0].tv_nsec = UTIME_OMIT;
  copy_root_metadata(report, plan, upper_fd, times[1]);
  for (const char* name : kShapedDirectories)
    if (::mkdirat(upper_fd, name, 0755) != 0)
      report.fail("create in the upper directory", name, errno);
  ::futimens(upper_fd, times);
}

// The copy is shaped already and its own upper directory: what it is after the step is
// compared with what it was.
ImageRoot mount_copied_root(const Reporter& report, const RootPlan& plan) {
  int place = open_directory(report, plan.upper, O_PATH | O_DIRECTORY | O_CLOEXEC);
  int tree = clone_tree(AT_FDCWD, plan.copied_root, plan.devices ? 0 : MOUNT_ATTR_NODEV, false);
  if (tree < 0) report.fail("clone mount of", plan.copied_root, errno);
  if (!attach(tree, place)) report.fail("mount the copied layers on", plan.upper, errno);
  ::close(tree);
  ::close(place);
  // Through another mount of it, in which the mounts of the step are not seen.
  int bare = clone_tree(AT_FDCWD, plan.copied_root, 0, false);
  int upper_fd = bare < 0 ? -1 : ::openat(bare, ".", kDirectoryFlags);
  if (upper_fd < 0) report.fail("open", plan.copied_root, errno);
  ::close(bare);
  return {open_directory(report, plan.upper, kDirectoryFlags), upper_fd};
}

}  // namespace

void mount_empty_lower(const Reporter& report, const char* path) {
  if (::mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=4k,mode=755") != 0)
    report.fail("mount tmpfs on", path, errno);
}

int prepare_upper(const Reporter& report, const RootPlan& plan) {
  int upper_fd = open_directory(report, plan.upper, kDirectoryFlags);
  shape_upper(report, plan, upper_fd);
  return upper_fd;
}

// The merged root shows the upper directory's own metadata, so it must look like the
// image's root: a step that does not touch it leaves it equal.
void copy_root_metadata(const Reporter& report, const RootPlan& plan, int upper_fd,
                        timespec& mtime) {
  struct stat st;
  if (plan.lower_count == 0) {
    if (::fchmod(upper_fd, 0755) != 0) report.fail("chmod", plan.upper, errno);
    if (::fstat(upper_fd, &st) != 0) report.fail("stat", plan.upper, errno);
    mtime = st.st_mtim;
    return;
  }
  if (::stat(plan.lowers[0], &st) != 0) report.fail("stat", plan.lowers[0], errno);
  if (::fchown(upper_fd, st.st_uid, st.st_gid) != 0) report.fail("chown", plan.upper, errno);
  if (::fchmod(upper_fd, st.st_mode & 07777) != 0) report.fail("chmod", plan.upper, errno);
  mtime = st.st_mtim;
}

// The descriptors opened here stay open in the supervisor: O_PATH, close-on-exec.
void mount_overlay(const Reporter& report, const RootPlan& plan, int upper_fd,
                   const char* mount_point) {
  FixedText<4096> data;
  data.add("lowerdir=");
  for (size_t i = 0; i < plan.lower_count; ++i) {
    int fd = open_directory(report, plan.lowers[i], O_PATH | O_DIRECTORY | O_CLOEXEC);
    data.add(i == 0 ? "" : ":").add_number(static_cast<uint64_t>(fd));
  }
  // Pinned, because host defaults vary and change the form of the upper directory.
  // nofollow: a layer may not plant redirects. volatile: no fsync of the step reaches
  // the disk and the unmount does not sync; the store syncs once when it commits.
  data.add(",index=off,metacopy=off,redirect_dir=nofollow,xino=off");
  if (upper_fd >= 0) {
    int work_fd = open_directory(report, plan.work, O_PATH | O_DIRECTORY | O_CLOEXEC);
    data.add(",volatile,upperdir=").add_number(static_cast<uint64_t>(upper_fd));
    data.add(",workdir=").add_number(static_cast<uint64_t>(work_fd));
  }
  if (plan.userxattr) data.add(",userxattr");
  if (data.overflowed()) report.fail("mount overlay of too many layers on", mount_point, E2BIG);
  if (::chdir("/proc/self/fd") != 0) report.fail("change directory to", "/proc/self/fd", errno);
  unsigned long flags = (plan.devices ? 0 : MS_NODEV) | (upper_fd < 0 ? MS_RDONLY : 0);
  if (::mount("overlay", mount_point, "overlay", flags, data.c_str()) != 0)
    report.fail("mount overlay on", mount_point, errno);
  if (::chdir("/") != 0) report.fail("change directory to", "/", errno);
}

ImageRoot mount_image_root(const Reporter& report, const RootPlan& plan) {
  if (plan.copied_root != nullptr) return mount_copied_root(report, plan);
  int upper_fd = prepare_upper(report, plan);
  RootPlan actual = plan;
  const char* empty_lower[] = {plan.upper};
  if (plan.lower_count == 0) {
    mount_empty_lower(report, plan.upper);
    actual.lowers = empty_lower;
    actual.lower_count = 1;
  }
  mount_overlay(report, actual, upper_fd, plan.upper);
  return {open_directory(report, plan.upper, kDirectoryFlags), upper_fd};
}

void enter_image_root(const Reporter& report, int root_fd) {
  if (::fchdir(root_fd) != 0) report.fail("enter", "the root of the image", errno);
  if (::syscall(SYS_pivot_root, ".", ".") != 0)
    report.fail("pivot_root to", "the root of the image", errno);
  // The old root now lies over the new one at "."; take it off with all its mounts.
  if (::umount2(".", MNT_DETACH) != 0) report.fail("unmount", "the host's root", errno);
  if (::chdir("/") != 0) report.fail("enter", "/", errno);
}

}  // namespace kasane::exec
