// kasane history (reference 1.6).
#include <fmt/format.h>

#include "cli/command.h"
#include "cli/formatter.h"
#include "cli/images.h"
#include "cli/units.h"
#include "transfer/transfer.h"
#include "ui/width.h"

namespace kasane::cli {
namespace {

constexpr tmpl::GoType kRowType{"*image.historyContext", tmpl::Kind::kStruct, nullptr, true, true};
constexpr int64_t kYear2000 = 946'684'800;  // docker shows no date up to here
constexpr size_t kCreatedByColumns = 45;

constexpr Column kColumns[] = {{"Comment", "COMMENT"},
                               {"CreatedAt", "CREATED AT"},
                               {"CreatedBy", "CREATED BY"},
                               {"CreatedSince", "CREATED"},
                               {"ID", "IMAGE"},
                               {"Size", "SIZE"}};

struct Entry {
  oci::HistoryEntry history;
  uint64_t size_bytes = 0;
};

// Newest first. Sizes go to the entries that made a layer, in order.
Result<std::vector<Entry>> entries_of(store::Store& store, const Sha256Digest& image) {
  oci::ImageConfig config = TRY(oci::ImageConfig::parse(TRY(store.image_config(image))));
  std::vector<uint64_t> sizes = TRY(store.layer_sizes(config.diff_ids));
  std::vector<Entry> entries;
  size_t layer = 0;
  for (oci::HistoryEntry& history : config.history) {
    Entry entry;
    if (!history.empty_layer) {
      if (layer == sizes.size())
        return Error(ErrorKind::kCorrupt, "too many non-empty layers in History section");
      entry.size_bytes = sizes[layer++];
    }
    entry.history = std::move(history);
    entries.insert(entries.begin(), std::move(entry));
  }
  return entries;
}

struct View {
  bool human = true;
  bool no_trunc = false;
  int64_t now_ns = 0;
};

tmpl::Value row_value(const Entry& entry, const std::string& id, const View& view) {
  // docker's time of an entry without a date is year 1; only the age is N/A.
  constexpr int64_t kYearOne = -62'135'596'800;
  auto created = oci::parse_time(entry.history.created);
  const int64_t seconds = created ? *created / 1'000'000'000 : kYearOne;
  std::string at = local_rfc3339(seconds);
  std::string since = at;
  if (view.human)
    since = seconds > kYear2000 ? human_duration(view.now_ns - *created) + " ago" : "N/A";
  std::string by = entry.history.created_by;
  for (char& c : by)
    if (c == '\t') c = ' ';
  if (!view.no_trunc) by = ui::truncate_columns(by, kCreatedByColumns, "…");
  std::string size = view.human ? human_size(static_cast<double>(entry.size_bytes))
                                : std::to_string(entry.size_bytes);
  return make_row(
      kRowType, kColumns,
      {entry.history.comment, at, by, since, view.no_trunc ? id : truncate_id(id), size});
}

Result<int> run_history(Context& context, const Arguments& arguments) {
  store::Store* store = TRY(context.store(true));
  Sha256Digest image = TRY(
      find_platform_image(*store, arguments.positional()[0], arguments.value("platform")));
  std::vector<Entry> entries = TRY(entries_of(*store, image));
  View view{arguments.on("human"), arguments.on("no-trunc"), context.now_ns()};
  ListFormat list{&kRowType, kColumns, {}, {}};
  list.table = fmt::format(
      "table {{{{.ID}}}}\t{{{{.{}}}}}\t{{{{.CreatedBy}}}}\t{{{{.Size}}}}\t{{{{.Comment}}}}",
      view.human ? "CreatedSince" : "CreatedAt");
  if (arguments.on("quiet")) list.table = "{{.ID}}";
  TRY(print_list(context, arguments.value("format"), list, entries.size(), [&](size_t i) {
    return row_value(entries[i], i == 0 ? image.str() : "<missing>", view);
  }));
  return 0;
}

constexpr FlagSpec kFlags[] = {
    kListFormatFlag,
    {.name = "human",
     .shorthand = 'H',
     .help = "Print sizes and dates in human readable format",
     .default_text = "true"},
    {.name = "no-trunc", .help = "Don't truncate output"},
    kPlatformFlag,
    {.name = "quiet", .shorthand = 'q', .help = "Only show image IDs"},
};
constexpr std::string_view kAliases[] = {"image history"};

}  // namespace

extern const Command kCommand_history;
const Command kCommand_history = {
    .path = "history",
    .aliases = kAliases,
    .summary = "Show the history of an image",
    .usage = "[OPTIONS] IMAGE",
    .help =
        "One line per step that made the image, newest first. Steps that changed no file\n"
        "have size 0B; `<missing>` means that the step has no image of its own.\n\n"
        "Examples:\n"
        "  kasane history app\n"
        "  kasane history --no-trunc --format '{{.CreatedBy}}' app",
    .flags = kFlags,
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_history,
};

}  // namespace kasane::cli
