// Entry of the command line: parses global flags, finds the command, runs it, renders
// the error. Exit codes follow docker's (reference: 1 error, 125 usage, 64 template).
#pragma once

#include <span>
#include <string>

#include "cli/context.h"

namespace kasane::cli {

int run(int argc, char** argv);

// The same with given streams and without touching signals: for tests. `words` are the
// arguments after the program name.
int run_command_line(std::span<const std::string> words, Context& context);

}  // namespace kasane::cli
