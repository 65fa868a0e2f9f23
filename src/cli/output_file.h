// A file of results that takes its name only when it is complete. Pipes and devices are
// written in place.
#pragma once

#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace kasane::cli {

// Without commit() a new file is removed again. One thread.
class OutputFile {
 public:
  // kInvalid for directories.
  static Result<OutputFile> open(const std::string& path);
  OutputFile(OutputFile&&) = default;
  OutputFile& operator=(OutputFile&&) = delete;
  ~OutputFile();

  int fd() const { return fd_.get(); }
  Result<void> commit();  // fsync, rename

 private:
  OutputFile() = default;
  std::string path_, temporary_;
  UniqueFd fd_;
};

}  // namespace kasane::cli
