// kasane logout (reference 1.12).
#include <fmt/format.h>

#include "cli/command.h"
#include "cli/registry_io.h"
#include "registry/login.h"

namespace kasane::cli {
namespace {

Result<int> run_logout(Context& context, const Arguments& arguments) {
  const auto& words = arguments.positional();
  const std::string host = TRY(registry::registry_host(words.empty() ? "" : words[0]));
  context.out(fmt::format("Removing login credentials for {}\n", registry::storage_key(host)));
  if (Result<void> erased = registry::erase_credential(surroundings_of(context), host, {}); !erased)
    context.err(fmt::format("WARNING: could not erase credentials: {}\n", erased.error().full_message()));
  return 0;
}

}  // namespace

extern const Command kCommand_logout;
const Command kCommand_logout = {
    .path = "logout",
    .aliases = {},
    .summary = "Log out from a registry",
    .usage = "[SERVER]",
    .help =
        "Removes what login stored, from config.json and the credential helper. Without SERVER: Docker\n"
        "Hub.\n\n"
        "Examples:\n"
        "  kasane logout registry.example:5000",
    .flags = {},
    .max_arguments = 1,
    .run = run_logout,
};

}  // namespace kasane::cli
