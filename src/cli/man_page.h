// Manual pages in roff (man macros) from the table of commands and flags.
#pragma once

#include <string>

#include "cli/command.h"

namespace kasane::cli {

// "kasane-image-prune"
std::string man_name(const Command& command);
// The page of one command, of a group, or of the program.
std::string man_page(const Command& command);
std::string man_group_page(const CommandGroup& group);
std::string man_root_page();

}  // namespace kasane::cli
