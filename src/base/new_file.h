// A file that gets its name only when it is whole and on disk. Until then it has none where the
// file system can do that (O_TMPFILE), so that a process that dies leaves nothing behind; else a
// random name beside its own.
#pragma once

#include <sys/types.h>

#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace kasane {

// Without commit() nothing stays. One thread.
class NewFile {
 public:
  // `target` is not followed when it is a symbolic link. `mode` as for open(2): the umask applies.
  static Result<NewFile> create(const std::string& target, mode_t mode);
  NewFile(NewFile&& other) noexcept;
  NewFile& operator=(NewFile&&) = delete;
  ~NewFile();

  int fd() const { return fd_.get(); }
  // fsync, then the name (a file that has it is replaced), then fsync of the directory.
  Result<void> commit();

 private:
  NewFile() = default;
  UniqueFd fd_;
  std::string target_, temporary_;  // temporary_ "": it has no name yet
};

}  // namespace kasane
