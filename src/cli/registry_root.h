// The folder that `kasane registry serve` and `gc` work on.
#pragma once

#include <string>

#include "cli/context.h"
#include "cli/flags.h"

namespace kasane::cli {

// --root, else $XDG_DATA_HOME/kasane/registry, else ~/.local/share/kasane/registry. Absolute.
Result<std::string> registry_root(Context& context, const Arguments& arguments);

}  // namespace kasane::cli
