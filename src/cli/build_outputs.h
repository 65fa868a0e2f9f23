// Flags of `kasane build` about what comes out: --output, --load, --push, --annotation,
// --attest, --cache-to and their kin.
#pragma once

#include "build/build.h"
#include "cli/flags.h"

namespace kasane::cli {

Result<void> add_outputs(const Arguments& arguments, build::BuildOptions& options);

}  // namespace kasane::cli
