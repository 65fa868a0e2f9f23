// A command of the command line. One command = one file commands/<name>.cc that defines
// kCommand_<name>; cmake/commands.cmake collects them into the table.
#pragma once

#include <span>
#include <string_view>

#include "base/result.h"
#include "cli/context.h"
#include "cli/flags.h"

namespace kasane::cli {

struct Command {
  std::string_view path;                      // "image prune": the words after "kasane"
  std::span<const std::string_view> aliases;  // other paths: "image ls", "image list"
  std::string_view summary;                   // one line, for the list of commands
  std::string_view usage;                     // "[OPTIONS] IMAGE [IMAGE...]"
  std::string_view help;                      // paragraphs and examples, for --help
  std::span<const FlagSpec> flags = {};
  int min_arguments = 0;
  int max_arguments = -1;  // -1: any number
  // The first argument ends the flags: the rest is the command line of another program.
  bool runs_program = false;
  // Exit status, or an error that main prints after "Error: ".
  Result<int> (*run)(Context& context, const Arguments& arguments) = nullptr;
};

// A first word that only groups commands: "image".
struct CommandGroup {
  std::string_view name;
  std::string_view summary;
};

// Sorted by path.
std::span<const Command* const> all_commands();
std::span<const CommandGroup> all_groups();

// The command whose path or alias is exactly this.
const Command* find_command(std::string_view path);
bool is_group(std::string_view word);

}  // namespace kasane::cli
