// A file of results that takes its name only when it is complete. Pipes and devices are
// written in place.
#pragma once

#include <optional>
#include <string>

#include "base/fd.h"
#include "base/new_file.h"
#include "base/result.h"

namespace kasane::cli {

// Without commit() no new file stays. One thread.
class OutputFile {
 public:
  // kInvalid for directories.
  static Result<OutputFile> open(const std::string& path);
  OutputFile(OutputFile&&) = default;
  OutputFile& operator=(OutputFile&&) = delete;

  int fd() const { return new_ ? new_->fd() : fd_.get(); }
  Result<void> commit();  // fsync, then the name

 private:
  OutputFile() = default;
  UniqueFd fd_;  // of what is no plain file
  std::optional<NewFile> new_;
};

}  // namespace kasane::cli
