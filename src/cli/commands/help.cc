// kasane help [COMMAND]: the page that COMMAND --help shows.
#include "cli/help.h"
#include "cli/command.h"

namespace kasane::cli {
namespace {

Result<int> run_help(Context& context, const Arguments& arguments) {
  const auto& words = arguments.positional();
  if (words.empty()) {
    context.out(root_help());
    return 0;
  }
  std::string path = words[0];
  if (words.size() > 1) path += " " + words[1];
  if (const Command* command = find_command(path)) {
    context.out(command_help(*command, "kasane " + path));
    return 0;
  }
  if (words.size() == 1 && is_group(path)) {
    context.out(group_help(path));
    return 0;
  }
  context.err(unknown_command(path));
  return 1;
}

}  // namespace

extern const Command kCommand_help;
const Command kCommand_help = {
    .path = "help",
    .aliases = {},
    .summary = "Show how a command is used",
    .usage = "[COMMAND]",
    .help =
        "Examples:\n"
        "  kasane help build\n"
        "  kasane help image prune",
    .flags = {},
    .max_arguments = 2,
    .run = run_help,
};

}  // namespace kasane::cli
