// Entry of the command line: parses global flags, finds the command, runs it, renders
// the error. Exit codes follow docker's (reference: 1 error, 125 usage, 64 template).
#pragma once

namespace kasane::cli {

int run(int argc, char** argv);

}  // namespace kasane::cli
