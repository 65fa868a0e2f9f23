// The flags of `kasane build` (reference dockerfile.md 1.15) as build options.
#pragma once

#include <span>

#include "build/build.h"
#include "cli/context.h"
#include "cli/flags.h"

namespace kasane::cli {

std::span<const FlagSpec> build_flags();

// Reads files and variables that flags name (secrets, arguments). `agents` gets what --ssh
// says and must outlive the options. Notes on flags that have no meaning here go to `notes`.
Result<build::BuildOptions> build_options(Context& context, const Arguments& arguments,
                                          build::SshAgents& agents,
                                          std::vector<std::string>& notes);

// What `kasane build` and `kasane run` say alike about the surroundings of a program:
// --add-host, --ulimit, --shm-size, --memory, --pids-limit, --run-timeout.
Result<void> add_run_settings(const Arguments& arguments, build::RunSettings& run);

}  // namespace kasane::cli
