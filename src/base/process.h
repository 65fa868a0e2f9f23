// Running helper programs (git, newuidmap): never inside an image, never through a shell.
#pragma once

#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace kasane {

bool is_program(const std::string& path);  // a regular file that this process may execute
// The first is_program() of that name in the absolute directories of a list like PATH; "" when
// there is none. Empty and relative entries are left out: they would find a program of the
// build context.
std::string find_program(std::string_view name, std::string_view directories);

struct ProcessOutput {
  int exit_status = 0;  // 128 + N when ended by signal N
  std::string out;
  std::string err;
};

struct ProcessOptions {
  std::optional<std::vector<std::string>> environment;  // "NAME=value"; none: that of kasane
  std::string working_directory;                        // "" = that of kasane
  std::string input;    // standard input; at most 64 KiB (one pipe's room)
  int timeout_ms = 0;   // 0: none. Then the program is killed: kNetwork, "gave no answer in …"
  // When it can be stopped, the program gets a process group of its own; a stop ends that
  // group (SIGTERM, two seconds later SIGKILL) and the call returns kCancelled.
  std::stop_token stop;
  uint64_t max_output_bytes = 16u << 20;
};

// argv[0] is looked up in the absolute directories of the host's PATH, never in relative ones.
// stdin is /dev/null without `input`. Output is capped at
// max_output_bytes each; more is kLimit. Signals have their default actions in the program.
Result<ProcessOutput> run_process(const std::vector<std::string>& argv,
                                  uint64_t max_output_bytes = 16u << 20);
Result<ProcessOutput> run_process(const std::vector<std::string>& argv,
                                  const ProcessOptions& options);

}  // namespace kasane
