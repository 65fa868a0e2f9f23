#include "cli/output_file.h"

#include <fmt/format.h>
#include <stdlib.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "cli/flags.h"

namespace kasane::cli {

Result<OutputFile> OutputFile::open(const std::string& path) {
  OutputFile file;
  file.path_ = path;
  struct stat st;
  if (::stat(path.c_str(), &st) == 0) {
    if (S_ISDIR(st.st_mode))
      return Error(ErrorKind::kInvalid,
                   fmt::format("invalid output path: {} is a directory", quote(path)));
    if (!S_ISREG(st.st_mode)) {
      file.fd_ = TRY(open_file(path, O_WRONLY));
      return file;
    }
  }
  std::string pattern = path + ".XXXXXX";
  int fd = ::mkostemp(pattern.data(), O_CLOEXEC);  // mode 0600
  if (fd < 0) return Error::from_errno(errno, "create " + path);
  file.fd_ = UniqueFd(fd);
  file.temporary_ = pattern;
  return file;
}

OutputFile::~OutputFile() {
  if (fd_ && !temporary_.empty()) ::unlink(temporary_.c_str());
}

Result<void> OutputFile::commit() {
  if (temporary_.empty()) return {};
  TRY(sync_fd(fd_.get(), path_));
  if (::rename(temporary_.c_str(), path_.c_str()) != 0)
    return Error::from_errno(errno, "rename to " + path_);
  temporary_.clear();
  return {};
}

}  // namespace kasane::cli
