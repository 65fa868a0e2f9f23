// The merged root file system of a step. Used between clone and exec, in a private
// mount namespace.
#pragma once

#include <ctime>

#include "exec/sandbox/child_support.h"

namespace kasane::exec {

// Names made as real directories in the upper directory before anything is mounted, so
// that a symlink or file of the image can never be a mount point (facts 0.2, S1-S4).
inline constexpr const char* kShapedDirectories[] = {"dev", "proc", "sys"};

struct RootPlan {
  const char* const* lowers;  // topmost first; may be empty
  size_t lower_count;
  const char* upper;  // empty directory
  const char* work;
  bool userxattr;
  bool devices = false;  // device nodes in it work (only with Security::kInsecure)
  const char* copied_root = nullptr;  // shown as it is, instead of an overlay
};

struct ImageRoot {
  int root_fd;   // the merged root, O_RDONLY
  int upper_fd;  // the upper directory itself, O_RDONLY
};

// Gives the upper directory the metadata of the image's root, shapes it, mounts the
// overlay over the path of the upper directory. The mount is nodev: a step may make device nodes
// but not use them, which stands in for a device cgroup. Ends the process on failure.
ImageRoot mount_image_root(const Reporter& report, const RootPlan& plan);

// The first half of it: metadata and shape. Returns the upper directory.
int prepare_upper(const Reporter& report, const RootPlan& plan);

// Without layers, an overlay still wants a lower directory: an empty tmpfs on `path`.
void mount_empty_lower(const Reporter& report, const char* path);

// Only the overlay, on `mount_point`: used by the probe and for mounts of the step too.
// With upper_fd -1 it is read-only and needs two lowers. Paths in the mount data are descriptor
// numbers, relative to /proc/self/fd: 500 lowers fit into the page that mount(2) takes,
// and no character of a path needs escaping. Changes the working directory.
void mount_overlay(const Reporter& report, const RootPlan& plan, int upper_fd,
                   const char* mount_point);

// Makes the directory look like the topmost lower: owner and mode are set, the time of
// modification is returned. Without lowers only the mode is set.
void copy_root_metadata(const Reporter& report, const RootPlan& plan, int upper_fd,
                        timespec& mtime);

// Makes root_fd "/", lets go of the host's root.
void enter_image_root(const Reporter& report, int root_fd);

}  // namespace kasane::exec
