// kasane image prune (reference 1.8).
#include <fmt/format.h>

#include <limits>

#include "cli/command.h"
#include "cli/filters.h"
#include "cli/images.h"
#include "cli/units.h"
#include "oci/reference.h"

namespace kasane::cli {
namespace {

constexpr std::string_view kWarnDangling = "WARNING! This will remove all dangling images.";
constexpr std::string_view kWarnAll =
    "WARNING! This will remove all images without at least one container associated to them.";

struct Pruned {
  std::string lines;
  uint64_t freed_bytes = 0;
};

Result<void> prune_one(store::Store& store, const store::ImageRow& row, Pruned& out) {
  std::vector<std::string> references = row.tags;
  references.insert(references.end(), row.digests.begin(), row.digests.end());
  for (const std::string& reference : references) {
    // A tag of several platforms went with the first of its images.
    if (Result<bool> done = store.untag(reference); !done) {
      if (done.error().kind() != ErrorKind::kNotFound) return std::move(done.error());
      continue;
    }
    out.lines += fmt::format("untagged: {}\n", oci::familiar(reference));
  }
  DeleteReport report = TRY(delete_image(store, row.id, true));
  out.freed_bytes += report.freed_bytes;
  for (const std::string& digest : report.deleted)
    out.lines += fmt::format("deleted: {}\n", digest);
  return {};
}

Result<int64_t> until_of(const Filters& filters, int64_t now_ns) {
  const auto& values = filters.values("until");
  if (values.empty()) return std::numeric_limits<int64_t>::max();
  if (values.size() > 1) return Error(ErrorKind::kInvalid, "more than one until filter specified");
  auto until = parse_timestamp(values[0], now_ns);
  if (!until)
    return Error(ErrorKind::kInvalid, fmt::format("invalid filter 'until={}'", values[0]));
  return *until;
}

Result<int> run_prune(Context& context, const Arguments& arguments) {
  const bool all = arguments.on("all");
  Filters filters =
      TRY(Filters::parse(arguments.list("filter"), {"label", "label!", "until", "dangling"}));
  const bool dangling_only = TRY(filters.boolean("dangling", !all)) && !all;
  const int64_t until_ns = TRY(until_of(filters, context.now_ns()));
  if (!arguments.on("force") && !confirm(context, all ? kWarnAll : kWarnDangling)) return 0;
  store::Store* store = TRY(context.store(false));
  Pruned pruned;
  for (const store::ImageRow& row : TRY(store->list_images())) {
    if (dangling_only && !row.tags.empty()) continue;
    if (filters.has("until")) {
      std::optional<int64_t> created = TRY(created_seconds(*store, row));
      if (!created || row.created_ns >= until_ns) continue;  // without a date it is kept
    }
    if (!labels_match(row.labels, filters)) continue;
    TRY(prune_one(*store, row, pruned));
  }
  if (!pruned.lines.empty()) context.out("Deleted Images:\n" + pruned.lines + "\n");
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
