// kasane store sweep: removes what dead processes left behind.
#include <fmt/format.h>

#include "cli/command.h"
#include "store/store.h"

namespace kasane::cli {
namespace {

Result<int> run_sweep(Context& context, const Arguments&) {
  store::Store* store = TRY(context.store(false));
  uint64_t count = TRY(store->sweep());
  context.out(fmt::format("Removed leftovers: {}\n", count));
  return 0;
}

}  // namespace

extern const Command kCommand_store_sweep;
const Command kCommand_store_sweep = {
    .path = "store sweep",
    .aliases = {},
    .summary = "Remove what interrupted commands left in the store",
    .usage = "",
    .help =
        "Nothing that an image, a tag, the step cache or a running kasane uses is touched.\n\n"
        "Example:\n"
        "  kasane store sweep",
    .flags = {},
    .max_arguments = 0,
    .run = run_sweep,
};

}  // namespace kasane::cli
