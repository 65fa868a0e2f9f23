// Dockerfile and ignore file as a build would read them, for commands that only look at them
// (X01, X02, G01).
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "base/source.h"
#include "dockerfile/ignore.h"

namespace kasane::cli {

// `file`: the value of -f; "-" is standard input; nothing: Dockerfile or dockerfile of the
// context. The text is not parsed, so that callers can report what is wrong with it.
Result<std::shared_ptr<const SourceText>> read_dockerfile(const std::string& context_dir,
                                                          const std::optional<std::string>& file,
                                                          int in_fd);

// FILE.dockerignore, else the context's .dockerignore, else a matcher that excludes nothing.
Result<dockerfile::IgnoreMatcher> read_ignore_file(const std::string& context_dir,
                                                   const std::optional<std::string>& file);

}  // namespace kasane::cli
