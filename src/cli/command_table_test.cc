#include <gtest/gtest.h>

#include <set>

#include "cli/command.h"
#include "cli/help.h"

namespace kasane::cli {
namespace {

TEST(CommandTable, SortedWithUniquePaths) {
  std::set<std::string_view> seen;
  std::string_view last;
  for (const Command* command : all_commands()) {
    EXPECT_LT(last, command->path);
    last = command->path;
    EXPECT_TRUE(seen.insert(command->path).second) << command->path;
    for (std::string_view alias : command->aliases) EXPECT_TRUE(seen.insert(alias).second) << alias;
  }
  EXPECT_GE(all_commands().size(), 15u);
}

TEST(CommandTable, EveryCommandExplainsItself) {
  for (const Command* command : all_commands()) {
    EXPECT_NE(command->run, nullptr) << command->path;
    EXPECT_FALSE(command->summary.empty()) << command->path;
    EXPECT_NE(command->help.find("kasane " + std::string(command->path)), std::string_view::npos)
        << command->path << ": the help has no example";
    size_t space = command->path.find(' ');
    if (space != std::string_view::npos) {
      EXPECT_TRUE(is_group(command->path.substr(0, space))) << command->path;
    }
    std::string page = command_help(*command, "kasane " + std::string(command->path));
    for (size_t at = 0; at < page.size();) {
      size_t end = page.find('\n', at);
      EXPECT_LE(end - at, 100u) << page.substr(at, end - at);
      at = end + 1;
    }
  }
}

TEST(CommandTable, FlagsAreUniqueAndDescribed) {
  for (const Command* command : all_commands()) {
    std::set<std::string_view> names;
    std::set<char> shorthands;
    for (const FlagSpec& flag : command->flags) {
      EXPECT_TRUE(names.insert(flag.name).second) << command->path << " --" << flag.name;
      EXPECT_FALSE(flag.help.empty()) << command->path << " --" << flag.name;
      EXPECT_EQ(flag.kind == FlagKind::kBool, flag.value_name.empty()) << flag.name;
      if (flag.shorthand) {
        EXPECT_TRUE(shorthands.insert(flag.shorthand).second)
            << command->path << " -" << flag.shorthand;
      }
    }
  }
}

TEST(CommandTable, GroupsHaveCommands) {
  for (const CommandGroup& group : all_groups())
    EXPECT_NE(group_help(group.name).find("  "), std::string::npos) << group.name;
}

}  // namespace
}  // namespace kasane::cli
