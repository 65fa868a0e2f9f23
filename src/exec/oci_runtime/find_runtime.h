// The OCI runtimes of this host (`--runtime`).
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace kasane::exec {

// kOther: one that we know by its path only; started with the options that all have.
enum class RuntimeKind { kCrun, kRunc, kRunsc, kOther };

struct Runtime {
  RuntimeKind kind = RuntimeKind::kOther;
  std::string path;  // absolute
};

// `name`: "crun", "runc", "runsc" or another word, looked up in the absolute directories of
// PATH and in the usual places for system programs, or a path. kNotFound otherwise.
// The kind follows from the name of the file, else from what `--version` prints.
Result<Runtime> find_runtime(const std::string& name);

// crun and runc, in this order, as far as they are installed.
std::vector<Runtime> installed_runtimes();

// The sentence in what a runtime printed when it refused: the last line, of a line of
// structured log its message. Pure.
std::string runtime_message(std::string_view output);

}  // namespace kasane::exec
