// kasane system prune: dangling images and unused build cache in one go.
#include <fmt/format.h>

#include "cli/command.h"
#include "cli/docker_config.h"
#include "cli/filters.h"
#include "cli/images.h"
#include "cli/prune_images.h"
#include "cli/units.h"
#include "store/store.h"

namespace kasane::cli {
namespace {

// docker's text without containers and networks, which kasane does not keep.
std::string warning(bool all) {
  return fmt::format("WARNING! This will remove:\n  - {}\n  - {}\n",
                     all ? "all images without at least one container associated to them"
                         : "all dangling images",
                     all ? "all build cache" : "unused build cache");
}

Result<int> run_system_prune(Context& context, const Arguments& arguments) {
  PruneSelection selection{arguments.on("all"), {}};
  selection.filters = with_prune_filters(arguments.list("filter"), docker_config(context));
  bool approved = false;
  Pruned pruned = TRY(prune_images(context, selection, [&] {
    approved = arguments.on("force") || confirm(context, warning(selection.all));
    return approved;
  }));
  if (!approved) return 0;
  context.out(deleted_images_text(pruned));
  store::Store* store = TRY(context.store(false));
  store::StepPrune steps;
  for (const std::string& filter : selection.filters)
    if (filter.starts_with("until="))
      steps.unused_since_ns = parse_timestamp(std::string_view(filter).substr(6), context.now_ns());
  // Steps have no labels: docker's build cache ignores such filters, too.
  pruned.freed_bytes += TRY(store->prune_steps(steps));
  context.out(fmt::format("Total reclaimed space: {}\n",
                          human_size(static_cast<double>(pruned.freed_bytes), 4)));
  return 0;
}

constexpr FlagSpec kFlags[] = {
    {.name = "all", .shorthand = 'a', .help = "Remove all images, not just dangling ones"},
    {.name = "filter",
     .kind = FlagKind::kList,
     .value_name = "filter",
     .help = "Remove only what matches: until=TIME, label=KEY[=VALUE],\nlabel!=KEY[=VALUE]",
     .check = check_filter},
    {.name = "force", .shorthand = 'f', .help = "Do not prompt for confirmation"},
    {.name = "volumes", .help = "Accepted for docker's sake: there are no volumes"},
};

}  // namespace

extern const Command kCommand_system_prune;
const Command kCommand_system_prune = {
    .path = "system prune",
    .aliases = {},
    .summary = "Remove unused data",
    .usage = "[OPTIONS]",
    .help =
        "Removes images without a tag (with -a: all images) and cached build steps. Cache mounts\n"
        "stay: see `kasane cache prune`.\n\n"
        "Examples:\n"
        "  kasane system prune\n"
        "  kasane system prune -a -f --filter until=240h",
    .flags = kFlags,
    .max_arguments = 0,
    .run = run_system_prune,
};

}  // namespace kasane::cli
