#include "cli/help.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <vector>

#include "base/diagnostic.h"

namespace kasane::cli {
namespace {

// There is no daemon to reach. A local socket is what docker's users name by habit; another
// machine is what they would be surprised not to have reached.
std::optional<std::string> check_host(std::string_view value) {
  if (value.empty() || value.starts_with("unix://") || value.starts_with("fd://"))
    return std::nullopt;
  return "kasane works in this process and reaches no daemon";
}

std::optional<std::string> check_context(std::string_view value) {
  if (value.empty() || value == "default") return std::nullopt;
  return "kasane works in this process: there is only the context \"default\"";
}

std::optional<std::string> check_log_level(std::string_view value) {
  for (std::string_view level : {"trace", "debug", "info", "warn", "warning", "error", "fatal", "panic"})
    if (value == level) return std::nullopt;
  return fmt::format("unable to parse logging level: {}", value);
}

// The first two are accepted behind a command, too.
constexpr FlagSpec kGlobals[] = {
    {.name = "debug", .shorthand = 'D', .help = "Say more about errors"},
    {.name = "root",
     .kind = FlagKind::kString,
     .value_name = "string",
     .help = "Directory of the image store (default: $KASANE_ROOT, else\n"
             "/var/lib/kasane for root, else the user's data directory)"},
    {.name = "version", .shorthand = 'v', .help = "Print version information and quit"},
    {.name = "config",
     .kind = FlagKind::kString,
     .value_name = "string",
     .help = "Folder of docker's client configuration\n(default: $DOCKER_CONFIG, else ~/.docker)"},
    {.name = "context",
     .shorthand = 'c',
     .kind = FlagKind::kString,
     .value_name = "string",
     .help = "Accepted for docker's sake: \"default\"",
     .check = check_context},
    {.name = "host",
     .shorthand = 'H',
     .kind = FlagKind::kString,
     .value_name = "string",
     .help = "Accepted for docker's sake: the socket of this machine",
     .check = check_host},
    {.name = "log-level",
     .shorthand = 'l',
     .kind = FlagKind::kString,
     .value_name = "string",
     .help = "Accepted for docker's sake; \"debug\" is as -D",
     .check = check_log_level},
    {.name = "tls", .help = "Accepted, without a meaning here", .hidden = true},
    {.name = "tlscacert", .kind = FlagKind::kString, .value_name = "string", .hidden = true},
    {.name = "tlscert", .kind = FlagKind::kString, .value_name = "string", .hidden = true},
    {.name = "tlskey", .kind = FlagKind::kString, .value_name = "string", .hidden = true},
    {.name = "tlsverify", .hidden = true},
};

struct Row {
  std::string name;
  std::string_view summary;
};

std::string rows(std::vector<Row> list) {
  std::sort(list.begin(), list.end(), [](const Row& a, const Row& b) { return a.name < b.name; });
  size_t width = 0;
  for (const Row& row : list) width = std::max(width, row.name.size());
  std::string text;
  for (const Row& row : list) text += fmt::format("  {:<{}}   {}\n", row.name, width, row.summary);
  return text;
}

// The last word of paths in `group` ("" = top level). Of several paths of one command the
// first counts, so `image ls` is not listed as `image list` too.
std::vector<Row> commands_of(std::string_view group) {
  std::vector<Row> list;
  for (const Command* command : all_commands()) {
    std::vector<std::string_view> paths{command->path};
    paths.insert(paths.end(), command->aliases.begin(), command->aliases.end());
    for (std::string_view path : paths) {
      size_t space = path.find(' ');
      std::string_view first = space == std::string_view::npos ? "" : path.substr(0, space);
      if (first != group) continue;
      list.push_back({std::string(space == std::string_view::npos ? path : path.substr(space + 1)),
                      command->summary});
      break;
    }
  }
  return list;
}

}  // namespace

const std::span<const FlagSpec> kGlobalFlags = kGlobals;

std::string root_help() {
  std::vector<Row> groups;
  for (const CommandGroup& group : all_groups())
    groups.push_back({std::string(group.name), group.summary});
  std::string text =
      "Usage:  kasane [OPTIONS] COMMAND\n\n"
      "Build, keep and ship container images without a daemon\n\n";
  text += "Commands:\n" + rows(commands_of("")) + "\n";
  text += "Management Commands:\n" + rows(std::move(groups)) + "\n";
  text += "Global Options:\n" + flag_usages(kGlobals) + "\n";
  return text + "Run 'kasane COMMAND --help' for more information on a command.\n";
}

std::string group_help(std::string_view group) {
  std::string_view summary;
  for (const CommandGroup& candidate : all_groups())
    if (candidate.name == group) summary = candidate.summary;
  return fmt::format(
      "Usage:  kasane {0} COMMAND\n\n{1}\n\nCommands:\n{2}\n"
      "Run 'kasane {0} COMMAND --help' for more information on a command.\n",
      group, summary, rows(commands_of(group)));
}

std::string command_help(const Command& command, std::string_view invoked_as) {
  std::string text = fmt::format("Usage:  {}{}{}\n\n{}\n", invoked_as,
                                 command.usage.empty() ? "" : " ", command.usage, command.summary);
  if (!command.aliases.empty()) {
    text += fmt::format("\nAliases:\n  kasane {}", command.path);
    for (std::string_view alias : command.aliases) text += fmt::format(", kasane {}", alias);
    text += '\n';
  }
  if (std::string flags = flag_usages(command.flags); !flags.empty())
    text += "\nOptions:\n" + flags;
  return text + "\n" + std::string(command.help) + "\n";
}

std::string usage_tail(const Command& command, std::string_view invoked_as) {
  return fmt::format("\n\nUsage:  {0}{1}{2}\n\nRun '{0} --help' for more information\n", invoked_as,
                     command.usage.empty() ? "" : " ", command.usage);
}

std::string argument_count_error(const Command& command, std::string_view invoked_as,
                                 size_t given) {
  const size_t least = static_cast<size_t>(command.min_arguments);
  const bool bounded = command.max_arguments >= 0;
  const size_t most = bounded ? static_cast<size_t>(command.max_arguments) : given;
  if (given >= least && given <= most) return {};
  auto arguments = [](size_t n) { return n == 1 ? "argument" : "arguments"; };
  std::string need;
  if (bounded && most == 0)
    need = "accepts no arguments";
  else if (bounded && least == most)
    need = fmt::format("requires {} {}", least, arguments(least));
  else if (given < least && !bounded)
    need = fmt::format("requires at least {} {}", least, arguments(least));
  else if (least == 0 || given > most)
    need = least == 0 ? fmt::format("requires at most {} {}", most, arguments(most))
                      : fmt::format("requires at least {} and at most {} arguments", least, most);
  else
    need = fmt::format("requires at least {} and at most {} arguments", least, most);
  return fmt::format("kasane: '{}' {}", invoked_as, need) + usage_tail(command, invoked_as);
}

std::string unknown_command(std::string_view words) {
  std::set<std::string> names;
  for (const Command* command : all_commands()) {
    names.emplace(command->path);
    for (std::string_view alias : command->aliases) names.emplace(alias);
  }
  for (const CommandGroup& group : all_groups()) names.emplace(group.name);
  std::string near = nearest_name(words, {names.begin(), names.end()});
  std::string text = fmt::format("kasane: unknown command: kasane {}\n\n", sanitize(words));
  if (!near.empty()) text += fmt::format("Did you mean \"kasane {}\"?\n\n", near);
  size_t space = words.find(' ');
  if (space == std::string_view::npos) return text + "Run 'kasane --help' for more information\n";
  std::string group(words.substr(0, space));
  return text +
         fmt::format("Usage:  kasane {0}\n\nRun 'kasane {0} --help' for more information\n",
                     group);
}

}  // namespace kasane::cli
