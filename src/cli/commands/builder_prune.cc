// kasane builder prune: drops cached build steps and the layers only they used.
#include <fmt/format.h>

#include "cli/command.h"
#include "cli/filters.h"
#include "cli/images.h"
#include "cli/units.h"
#include "store/store.h"

namespace kasane::cli {
namespace {

constexpr std::string_view kWarning = "WARNING! This will remove all build cache.";

Result<int> run_builder_prune(Context& context, const Arguments& arguments) {
  Filters filters = TRY(Filters::parse(arguments.list("filter"), {"until", "unused-for"}));
  std::optional<int64_t> unused_since;
  for (std::string_view key : {"until", "unused-for"})
    for (const std::string& text : filters.values(key)) {
      unused_since = parse_timestamp(text, context.now_ns());
      if (!unused_since)
        return Error(ErrorKind::kInvalid, fmt::format("invalid filter '{}={}'", key, text));
    }
  std::optional<uint64_t> keep_bytes;
  if (arguments.given("keep-storage")) keep_bytes = parse_size(arguments.value("keep-storage"));
  if (!arguments.on("force") && !confirm(context, kWarning)) return 0;
  store::Store* store = TRY(context.store(false));
  uint64_t freed =
      TRY(store->prune_steps({.unused_since_ns = unused_since, .keep_bytes = keep_bytes}));
  context.out(
      fmt::format("Total reclaimed space: {}\n", human_size(static_cast<double>(freed), 4)));
  return 0;
}

constexpr FlagSpec kFlags[] = {
    {.name = "all",
     .shorthand = 'a',
     .help = "Accepted for docker's sake: unused steps are dropped in any case"},
    {.name = "filter",
     .kind = FlagKind::kList,
     .value_name = "filter",
     .help = "Drop only steps not used since (\"until=24h\")",
     .check = check_filter},
    {.name = "keep-storage",
     .kind = FlagKind::kString,
     .value_name = "bytes",
     .help = "Amount of cache to keep: the least recently used steps go",
     .check = check_size},
    {.name = "force", .shorthand = 'f', .help = "Do not prompt for confirmation"},
};

}  // namespace

extern const Command kCommand_builder_prune;
const Command kCommand_builder_prune = {
    .path = "builder prune",
    .aliases = {},
    .summary = "Remove build cache",
    .usage = "[OPTIONS]",
    .help =
        "Forgets cached build steps and deletes the layers that no image uses. The next build\n"
        "runs these steps again.\n\n"
        "Examples:\n"
        "  kasane builder prune -f\n"
        "  kasane builder prune -f --filter until=168h\n"
        "  kasane builder prune -f --keep-storage 10GB",
    .flags = kFlags,
    .max_arguments = 0,
    .run = run_builder_prune,
};

}  // namespace kasane::cli
