#include "cli/output_file.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include "cli/flags.h"

namespace kasane::cli {

Result<OutputFile> OutputFile::open(const std::string& path) {
  OutputFile file;
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
  file.new_.emplace(TRY(NewFile::create(path, 0600)));
  return file;
}

Result<void> OutputFile::commit() { return new_ ? new_->commit() : Result<void>(); }

}  // namespace kasane::cli
