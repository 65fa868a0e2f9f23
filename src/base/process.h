// Running helper programs (git, newuidmap): never inside an image, never through a shell.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace kasane {

struct ProcessOutput {
  int exit_status = 0;  // 128 + N when ended by signal N
  std::string out;
  std::string err;
};

// argv[0] is looked up in PATH of the host. stdin is /dev/null. Output is capped at
// max_output_bytes each; more is kLimit.
Result<ProcessOutput> run_process(const std::vector<std::string>& argv,
                                  uint64_t max_output_bytes = 16u << 20);

}  // namespace kasane
