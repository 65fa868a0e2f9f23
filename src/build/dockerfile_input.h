// Where a directory's Dockerfile and ignore file are (reference X01, X02, G01), for builds and
// for commands that only read them.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "base/source.h"
#include "dockerfile/ignore.h"

namespace kasane::build {

// `file` (-f) as it is, else DIR/Dockerfile, else DIR/dockerfile. kNotFound.
Result<std::string> find_dockerfile(const std::string& context_dir,
                                    const std::optional<std::string>& file);

// The text of a Dockerfile; "-" is standard input, from `in_fd`. What lies below
// `context_dir` is found inside of it whatever links it has (X08, reliability.md B1): a
// context that somebody else made cannot show a file of this host. kNotFound, kLimit.
Result<std::shared_ptr<const SourceText>> read_dockerfile(const std::string& path, int in_fd,
                                                          const std::string& context_dir);

struct IgnoreFile {
  dockerfile::IgnoreMatcher matcher;  // empty when there is no file
  std::string name = ".dockerignore";  // as messages call it
};
// <Dockerfile>.dockerignore beside the Dockerfile, else DIR/.dockerignore; confined like it.
Result<IgnoreFile> read_ignore_file(const std::string& context_dir, const std::string& dockerfile_path);

}  // namespace kasane::build
