// Help pages and usage errors, laid out as docker's.
#pragma once

#include <string>
#include <string_view>

#include "cli/command.h"

namespace kasane::cli {

extern const std::span<const FlagSpec> kGlobalFlags;

std::string root_help();
std::string group_help(std::string_view group);
// `invoked_as`: "kasane images".
std::string command_help(const Command& command, std::string_view invoked_as);

// "\n\nUsage:  kasane images [OPTIONS] ...\n\nRun 'kasane images --help' for more information\n"
std::string usage_tail(const Command& command, std::string_view invoked_as);

// docker's sentence when the number of arguments is wrong; "" when it is right.
std::string argument_count_error(const Command& command, std::string_view invoked_as, size_t given);

// "kasane: unknown command: kasane bogus ...", with the nearest name.
std::string unknown_command(std::string_view words);

}  // namespace kasane::cli
