// kasane cache du: what the caches take.
#include <fmt/format.h>

#include "cli/command.h"
#include "cli/formatter.h"
#include "cli/units.h"
#include "store/build_records.h"
#include "store/cache_mounts.h"
#include "store/store.h"

namespace kasane::cli {
namespace {

constexpr tmpl::GoType kRowType{"*cacheUsage", tmpl::Kind::kStruct, nullptr, true, true};
constexpr Column kColumns[] = {{"Reclaimable", "RECLAIMABLE"},
                               {"Size", "SIZE"},
                               {"SizeBytes", "SIZE"},
                               {"Total", "TOTAL"},
                               {"Type", "TYPE"}};

struct Usage {
  std::string_view type;
  uint64_t count = 0, bytes = 0, reclaimable = 0;
};

Result<Usage> mounts_usage(store::Store& store) {
  Usage out{"Cache mounts"};
  const std::vector<store::CacheMountInfo> mounts = TRY(store::list_cache_mounts(store, true));
  for (const store::CacheMountInfo& mount : mounts) {
    ++out.count;
    out.bytes += mount.size_bytes;
    if (!mount.in_use) out.reclaimable += mount.size_bytes;
  }
  return out;
}

Result<int> run_du(Context& context, const Arguments& arguments) {
  store::Store* store = TRY(context.store(true));
  const store::StepUsage steps = TRY(store->step_usage());
  const size_t builds = TRY(store::list_builds(*store, store::kKeptBuilds)).size();
  std::vector<Usage> rows = {TRY(mounts_usage(*store)),
                             {"Build steps", steps.steps, steps.bytes, steps.bytes},
                             {"Build records", builds, store::build_records_size(*store), 0}};
  ListFormat list{
      &kRowType, kColumns, "table {{.Type}}\t{{.Total}}\t{{.Size}}\t{{.Reclaimable}}", {}};
  TRY(print_list(context, arguments.value("format"), list, rows.size(), [&](size_t i) {
    const Usage& usage = rows[i];
    return make_row(kRowType, kColumns,
                    {human_size(static_cast<double>(usage.reclaimable)),
                     human_size(static_cast<double>(usage.bytes)), std::to_string(usage.bytes),
                     std::to_string(usage.count), std::string(usage.type)});
  }));
  return 0;
}

constexpr FlagSpec kFlags[] = {kListFormatFlag};

}  // namespace

extern const Command kCommand_cache_du;
const Command kCommand_cache_du = {
    .path = "cache du",
    .aliases = {},
    .summary = "Show what the caches take on disk",
    .usage = "[OPTIONS]",
    .help =
        "Build steps count the content of layers that no image uses. `kasane cache prune`\n"
        "frees cache mounts, with --all build steps too; build records are few and old ones\n"
        "go by themselves.\n\n"
        "Example:\n"
        "  kasane cache du",
    .flags = kFlags,
    .max_arguments = 0,
    .run = run_du,
};

}  // namespace kasane::cli
