// `kasane build --call=check|outline|targets[,format=json][,ignorestatus=true]` and `--check`:
// questions about a Dockerfile that are answered without a build (E10-E12).
#pragma once

#include <map>
#include <optional>
#include <string>

#include "base/result.h"
#include "cli/context.h"

namespace kasane::cli {

struct BuildCallInputs {
  std::string context_dir;  // "": none
  std::optional<std::string> dockerfile;  // -f; "-": standard input
  std::string target;
  std::map<std::string, std::string> build_args;
};

// The value of --call and --check together; "" when it is an ordinary build.
std::string build_call(const std::string& call, bool check);

// Prints the answer to stdout. Exit status 1 when a check finds something (not with
// ignorestatus) or says that the build would fail, else 0. Errors: a call that does not exist,
// files that cannot be read, for outline and targets also a Dockerfile that is not one.
Result<int> run_call(Context& context, const std::string& call, const BuildCallInputs& inputs);

}  // namespace kasane::cli
