#include <algorithm>

#include "cli/command.h"

namespace kasane::cli {
namespace {

constexpr CommandGroup kGroups[] = {
    {"builder", "Manage the cache of build steps"},
    {"builds", "Look at earlier builds"},
    {"cache", "Manage cache mounts and the cache of build steps"},
    {"image", "Manage images"},
    {"imagetools", "Look at and put together indexes in registries"},
    {"manifest", "Manage image manifests and manifest lists"},
    {"registry", "Explain where names lead, serve a registry and care for its folder"},
    {"store", "Check and clean the image store"},
    {"system", "Look at and clean the whole store"},
};

}  // namespace

std::span<const CommandGroup> all_groups() { return kGroups; }

bool is_group(std::string_view word) {
  return std::any_of(std::begin(kGroups), std::end(kGroups),
                     [&](const CommandGroup& group) { return group.name == word; });
}

const Command* find_command(std::string_view path) {
  for (const Command* command : all_commands()) {
    if (command->path == path) return command;
    for (std::string_view alias : command->aliases)
      if (alias == path) return command;
  }
  return nullptr;
}

}  // namespace kasane::cli
