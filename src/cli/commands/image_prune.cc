// kasane image prune (reference 1.8).
#include <fmt/format.h>

#include "cli/command.h"
#include "cli/docker_config.h"
#include "cli/images.h"
#include "cli/prune_images.h"
#include "cli/units.h"

namespace kasane::cli {
namespace {

constexpr std::string_view kWarnDangling = "WARNING! This will remove all dangling images.";
constexpr std::string_view kWarnAll =
    "WARNING! This will remove all images without at least one container associated to them.";

Result<int> run_prune(Context& context, const Arguments& arguments) {
  PruneSelection selection{arguments.on("all"), {}};
  selection.filters = with_prune_filters(arguments.list("filter"), docker_config(context));
  bool approved = false;
  const Pruned pruned = TRY(prune_images(context, selection, [&] {
    approved = arguments.on("force") || confirm(context, selection.all ? kWarnAll : kWarnDangling);
    return approved;
  }));
  if (!approved) return 0;
  context.out(deleted_images_text(pruned));
  context.out(fmt::format("Total reclaimed space: {}\n",
                          human_size(static_cast<double>(pruned.freed_bytes), 4)));
  return 0;
}

constexpr FlagSpec kFlags[] = {
    {.name = "all",
     .shorthand = 'a',
     .help = "Remove all images, not just dangling ones (kasane runs no\ncontainers that could use "
             "them)"},
    {.name = "filter",
     .kind = FlagKind::kList,
     .value_name = "filter",
     .help = "Remove only what matches: until=TIME, label=KEY[=VALUE],\nlabel!=KEY[=VALUE]",
     .check = check_filter},
    {.name = "force", .shorthand = 'f', .help = "Do not prompt for confirmation"},
};

}  // namespace

extern const Command kCommand_image_prune;
const Command kCommand_image_prune = {
    .path = "image prune",
    .aliases = {},
    .summary = "Remove unused images",
    .usage = "[OPTIONS]",
    .help =
        "Without -a only images without a tag go. The cache of build steps is another thing:\n"
        "see `kasane builder prune`.\n\n"
        "Examples:\n"
        "  kasane image prune\n"
        "  kasane image prune -a -f --filter until=240h",
    .flags = kFlags,
    .max_arguments = 0,
    .run = run_prune,
};

}  // namespace kasane::cli
