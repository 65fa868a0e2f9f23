// kasane cache prune: removes cache mounts, and with --all cached steps too.
#include <fmt/format.h>

#include "base/diagnostic.h"
#include "cli/command.h"
#include "cli/images.h"
#include "cli/units.h"
#include "store/cache_mounts.h"
#include "store/store.h"

namespace kasane::cli {
namespace {

constexpr std::string_view kWarnMounts = "WARNING! This will remove cache mounts.";
constexpr std::string_view kWarnAll =
    "WARNING! This will remove cache mounts and the cache of build steps.";

Result<uint64_t> mounts_size(store::Store& store) {
  uint64_t total = 0;
  const std::vector<store::CacheMountInfo> mounts = TRY(store::list_cache_mounts(store, true));
  for (const store::CacheMountInfo& mount : mounts) total += mount.size_bytes;
  return total;
}

Result<int> run_prune(Context& context, const Arguments& arguments) {
  store::CacheMountPrune options;
  if (arguments.given("id")) options.id = arguments.value("id");
  if (arguments.given("unused-for"))
    options.unused_since_ns =
        context.now_ns() - parse_duration(arguments.value("unused-for")).value_or(0);
  if (arguments.given("max-size")) options.keep_bytes = parse_size(arguments.value("max-size"));
  const bool all = arguments.on("all");
  if (all && options.id)
    return Error(ErrorKind::kInvalid, "--all and --id exclude each other: steps have no id");
  if (!arguments.on("force") && !confirm(context, all ? kWarnAll : kWarnMounts)) return 0;
  store::Store* store = TRY(context.store(false));
  const store::PrunedCacheMounts pruned = TRY(store::prune_cache_mounts(*store, options));
  uint64_t freed = pruned.freed_bytes;
  std::string lines;
  for (const store::CacheMountInfo& mount : pruned.removed)
    lines += fmt::format("{}  {}\n", mount.key,
                         sanitize(mount.sharing.empty() ? "<unknown>" : mount.id));
  if (all) {
    store::StepPrune steps{options.unused_since_ns, options.keep_bytes};
    if (steps.keep_bytes) {
      const uint64_t used = TRY(mounts_size(*store));
      *steps.keep_bytes -= std::min(*steps.keep_bytes, used);
    }
    freed += TRY(store->prune_steps(steps));
  }
  if (!lines.empty()) context.out("Deleted cache mounts:\n" + lines + "\n");
  context.out(
      fmt::format("Total reclaimed space: {}\n", human_size(static_cast<double>(freed), 4)));
  return 0;
}

std::optional<std::string> check_duration(std::string_view text) {
  if (parse_duration(text).value_or(-1) >= 0) return std::nullopt;
  return fmt::format("invalid duration: {}", quote(text));
}

constexpr FlagSpec kFlags[] = {
    {.name = "all",
     .shorthand = 'a',
     .help = "Also drop cached build steps and the layers only they use"},
    {.name = "force", .shorthand = 'f', .help = "Do not prompt for confirmation"},
    {.name = "id",
     .kind = FlagKind::kString,
     .value_name = "string",
     .help = "Only the cache mounts of this id (or key)"},
    {.name = "max-size",
     .kind = FlagKind::kString,
     .value_name = "bytes",
     .help = "Remove the least recently used ones until no more than\nthis is left (\"10GB\")",
     .check = check_size},
    {.name = "unused-for",
     .kind = FlagKind::kString,
     .value_name = "duration",
     .help = "Only what was not used for so long (\"24h\")",
     .check = check_duration},
};

}  // namespace

extern const Command kCommand_cache_prune;
const Command kCommand_cache_prune = {
    .path = "cache prune",
    .aliases = {},
    .summary = "Remove cache mounts",
    .usage = "[OPTIONS]",
    .help =
        "Without options all cache mounts go, except those that a build uses just now. With\n"
        "--all and --max-size steps may keep what the cache mounts leave of the size.\n\n"
        "Examples:\n"
        "  kasane cache prune -f --unused-for 168h\n"
        "  kasane cache prune -f --id /root/.npm\n"
        "  kasane cache prune -f --all --max-size 10GB",
    .flags = kFlags,
    .max_arguments = 0,
    .run = run_prune,
};

}  // namespace kasane::cli
