// File descriptors and in-root path work. Every path that comes from an image,
// archive or build context is opened relative to a directory fd with openat2(2)
// RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS, so it can never leave that directory.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace kasane {

// Owns one descriptor; closes it. All descriptors of the project are O_CLOEXEC.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(other.release()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept;
  ~UniqueFd() { reset(); }
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  int release();
  void reset(int fd = -1);

 private:
  int fd_ = -1;
};

struct Pipe {
  UniqueFd read_end;
  UniqueFd write_end;
};
Result<Pipe> make_pipe();

struct Timespec {
  int64_t sec = 0;
  uint32_t nsec = 0;
  auto operator<=>(const Timespec&) const = default;
};

Result<UniqueFd> open_file(const std::string& path, int flags, mode_t mode = 0);
Result<UniqueFd> open_at(int dir_fd, const std::string& path, int flags, mode_t mode = 0);

// openat2 with RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS: symlinks (absolute ones too) are
// resolved as if root_fd were "/". flags as for open(2); O_CLOEXEC is added.
Result<UniqueFd> open_in_root(int root_fd, const std::string& path, int flags, mode_t mode = 0);

// Reads a whole regular file; kLimit when larger than max_bytes, never blocks on a FIFO.
Result<std::string> read_file(const std::string& path, uint64_t max_bytes = 64u << 20);
Result<std::string> read_file_in_root(int root_fd, const std::string& path, uint64_t max_bytes);
// nullopt when it is not there.
Result<std::optional<std::string>> read_if_there(const std::string& path, uint64_t max_bytes);
Result<std::string> read_fd(int fd, uint64_t max_bytes, std::string_view name);

// Loops over EINTR and short writes.
Result<void> write_all(int fd, std::span<const uint8_t> bytes, std::string_view name);
Result<void> write_all(int fd, std::string_view text, std::string_view name);
// Up to buffer.size() bytes; 0 at end of file. Loops over EINTR only.
Result<size_t> read_some(int fd, std::span<uint8_t> buffer, std::string_view name);

Result<void> sync_fd(int fd, std::string_view name);
Result<void> sync_directory(const std::string& path);

// Names in a directory without "." and "..", sorted; empty when there is no such directory.
Result<std::vector<std::string>> list_directory(const std::string& path);

// mkdir -p with the given mode for new directories.
Result<void> make_directories(const std::string& path, mode_t mode = 0755);

// Temporary file beside path → write → fsync → rename over path → fsync parent.
Result<void> replace_file(const std::string& path, std::string_view content, mode_t mode = 0644);

// renameat2(RENAME_NOREPLACE). kConflict when the target exists.
Result<void> rename_noreplace(const std::string& from, const std::string& to);

// Deletes a tree without following links and without crossing mounts; missing is fine.
// Directories without permissions (mode 0) are made accessible first.
Result<void> remove_tree(int parent_fd, const std::string& name);
Result<void> remove_tree(const std::string& path);

// A private directory under $TMPDIR that is deleted with the object.
class TempDir {
 public:
  static Result<TempDir> make(std::string_view prefix = "kasane");
  TempDir(TempDir&& other) noexcept : path_(std::move(other.path_)) { other.path_.clear(); }
  TempDir& operator=(TempDir&&) = delete;
  ~TempDir();
  const std::string& path() const { return path_; }

 private:
  explicit TempDir(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

}  // namespace kasane
