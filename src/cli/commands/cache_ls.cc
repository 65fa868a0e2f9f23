// kasane cache ls: the cache mounts of the store.
#include <fmt/format.h>

#include "cli/command.h"
#include "cli/formatter.h"
#include "cli/units.h"
#include "store/cache_mounts.h"
#include "store/store.h"

namespace kasane::cli {
namespace {

constexpr tmpl::GoType kRowType{"*cacheMount", tmpl::Kind::kStruct, nullptr, true, true};
constexpr Column kColumns[] = {{"Base", "BASE"},
                               {"CreatedAt", "CREATED AT"},
                               {"ID", "CACHE ID"},
                               {"InUse", "IN USE"},
                               {"Key", "KEY"},
                               {"LastUsedAt", "LAST USED AT"},
                               {"LastUsedSince", "LAST USED"},
                               {"Mode", "MODE"},
                               {"Namespace", "NAMESPACE"},
                               {"Owner", "OWNER"},
                               {"Shared", "SHARED"},
                               {"Size", "SIZE"},
                               {"SizeBytes", "SIZE"}};
constexpr size_t kShortKey = 12;

// A pool's further instances keep their number.
std::string short_key(const std::string& key) {
  const size_t dot = key.find('.');
  return key.substr(0, kShortKey) + (dot == std::string::npos ? "" : key.substr(dot));
}

Result<int> run_ls(Context& context, const Arguments& arguments) {
  store::Store* store = TRY(context.store(true));
  const std::vector<store::CacheMountInfo> mounts = TRY(store::list_cache_mounts(*store, true));
  ListFormat list{&kRowType,
                  kColumns,
                  "table {{.ID}}\t{{.Key}}\t{{.Size}}\t{{.LastUsedSince}}\t{{.Shared}}\t{{.InUse}}",
                  {}};
  if (arguments.on("quiet")) list.table = "{{.Key}}";
  const bool full = arguments.on("no-trunc");
  const int64_t now_ns = context.now_ns();
  TRY(print_list(context, arguments.value("format"), list, mounts.size(), [&](size_t i) {
    const store::CacheMountInfo& mount = mounts[i];
    const bool known = !mount.sharing.empty();
    return make_row(
        kRowType, kColumns,
        {mount.base_digest, known ? local_rfc3339(mount.created_ns / 1'000'000'000) : "",
         known ? mount.id : "<unknown>", mount.in_use ? "true" : "false",
         full ? mount.key : short_key(mount.key), local_rfc3339(mount.last_used_ns / 1'000'000'000),
         human_duration(now_ns - mount.last_used_ns) + " ago", fmt::format("{:04o}", mount.mode),
         mount.namespace_, fmt::format("{}:{}", mount.uid, mount.gid), mount.sharing,
         human_size(static_cast<double>(mount.size_bytes)), std::to_string(mount.size_bytes)});
  }));
  return 0;
}

constexpr FlagSpec kFlags[] = {
    kListFormatFlag,
    {.name = "no-trunc", .help = "Don't truncate keys"},
    {.name = "quiet", .shorthand = 'q', .help = "Only show keys"},
};
constexpr std::string_view kAliases[] = {"cache list"};

}  // namespace

extern const Command kCommand_cache_ls;
const Command kCommand_cache_ls = {
    .path = "cache ls",
    .aliases = kAliases,
    .summary = "List cache mounts",
    .usage = "[OPTIONS]",
    .help =
        "Cache mounts are the directories of RUN --mount=type=cache. One id may have several:\n"
        "for other owners or modes, another from=, or builds that ran at the same time with\n"
        "sharing=private. Sizes are what their files take on disk.\n\n"
        "Examples:\n"
        "  kasane cache ls\n"
        "  kasane cache ls --format '{{.ID}} {{.Size}}'",
    .flags = kFlags,
    .max_arguments = 0,
    .run = run_ls,
};

}  // namespace kasane::cli
