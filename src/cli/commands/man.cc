// kasane man: manual pages from the table of commands and flags.
#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>

#include "cli/command.h"
#include "cli/man_page.h"
#include "cli/output_file.h"

namespace kasane::cli {
namespace {

Result<void> write_page(const std::string& folder, const std::string& name, const std::string& text) {
  OutputFile file = TRY(OutputFile::open(fmt::format("{}/{}.1", folder, name)));
  TRY(write_all(file.fd(), text, name));
  if (::fchmod(file.fd(), 0644) != 0) return Error::from_errno(errno, "chmod " + name);
  return file.commit();
}

Result<int> write_all_pages(const std::string& folder) {
  if (::mkdir(folder.c_str(), 0755) != 0 && errno != EEXIST)
    return Error::from_errno(errno, "create " + folder);
  TRY(write_page(folder, "kasane", man_root_page()));
  for (const CommandGroup& group : all_groups())
    TRY(write_page(folder, "kasane-" + std::string(group.name), man_group_page(group)));
  for (const Command* command : all_commands())
    TRY(write_page(folder, man_name(*command), man_page(*command)));
  return 0;
}

Result<int> run_man(Context& context, const Arguments& arguments) {
  if (arguments.given("output")) return write_all_pages(arguments.value("output"));
  const auto& words = arguments.positional();
  if (words.empty()) {
    context.out(man_root_page());
    return 0;
  }
  const std::string path = words[0] + (words.size() > 1 ? " " + words[1] : "");
  if (const Command* command = find_command(path)) {
    context.out(man_page(*command));
    return 0;
  }
  for (const CommandGroup& group : all_groups())
    if (group.name == path) {
      context.out(man_group_page(group));
      return 0;
    }
  return Error(ErrorKind::kNotFound, "no manual page for " + quote(path))
      .hint("`kasane --help` lists the commands");
}

constexpr FlagSpec kFlags[] = {
    {.name = "output",
     .shorthand = 'o',
     .kind = FlagKind::kString,
     .value_name = "dir",
     .help = "Write all pages into this folder"},
};

}  // namespace

extern const Command kCommand_man;
const Command kCommand_man = {
    .path = "man",
    .aliases = {},
    .summary = "Print a manual page, or write them all",
    .usage = "[OPTIONS] [COMMAND]",
    .help =
        "The pages are made from what --help shows, in the form that man(1) reads.\n\n"
        "Examples:\n"
        "  kasane man build | man -l -\n"
        "  kasane man --output /usr/local/share/man/man1",
    .flags = kFlags,
    .max_arguments = 2,
    .run = run_man,
};

}  // namespace kasane::cli
