// kasane builds ls: the recorded builds, newest first.
#include <fmt/format.h>

#include <charconv>

#include "cli/builds.h"
#include "cli/command.h"
#include "cli/formatter.h"
#include "cli/units.h"
#include "store/store.h"

namespace kasane::cli {
namespace {

constexpr tmpl::GoType kRowType{"*build", tmpl::Kind::kStruct, nullptr, true, true};
constexpr Column kColumns[] = {
    {"Context", "CONTEXT"},   {"CreatedAt", "CREATED AT"}, {"CreatedSince", "CREATED"},
    {"Duration", "DURATION"}, {"ID", "BUILD ID"},          {"Image", "IMAGE"},
    {"Status", "STATUS"},     {"Steps", "STEPS RUN"},      {"Tags", "TAGS"}};

Result<int> run_builds(Context& context, const Arguments& arguments) {
  const std::string limit_text = arguments.value("limit");
  size_t limit = 0;
  auto parsed = std::from_chars(limit_text.data(), limit_text.data() + limit_text.size(), limit);
  if (parsed.ec != std::errc() || parsed.ptr != limit_text.data() + limit_text.size())
    return Error(ErrorKind::kInvalid, fmt::format("invalid limit {}", quote(limit_text)));
  store::Store* store = TRY(context.store(true));
  std::vector<std::string> warnings;
  const std::vector<store::BuildRecord> builds = TRY(store::list_builds(*store, limit, &warnings));
  warn_all(context, warnings);
  ListFormat list{&kRowType,
                  kColumns,
                  "table {{.ID}}\t{{.CreatedSince}}\t{{.Duration}}\t{{.Status}}\t{{.Steps}}\t"
                  "{{.Tags}}",
                  {}};
  if (arguments.on("quiet")) list.table = "{{.ID}}";
  const int64_t now_ns = context.now_ns();
  TRY(print_list(context, arguments.value("format"), list, builds.size(), [&](size_t i) {
    const store::BuildRecord& build = builds[i];
    size_t ran = 0;
    for (const store::StepRecord& step : build.steps) ran += !step.cached;
    return make_row(
        kRowType, kColumns,
        {build.context, local_rfc3339(build.started_ns / 1'000'000'000),
         human_duration(now_ns - build.started_ns) + " ago", short_duration(duration_of(build)),
         build.id, truncate_id(build.image), status_text(build),
         fmt::format("{}/{}", ran, build.steps.size()), tags_text(build)});
  }));
  return 0;
}

constexpr FlagSpec kFlags[] = {
    kListFormatFlag,
    {.name = "limit",
     .shorthand = 'n',
     .kind = FlagKind::kInt,
     .value_name = "int",
     .help = "Show at most so many",
     .default_text = "50"},
    {.name = "quiet", .shorthand = 'q', .help = "Only show build IDs"},
};
constexpr std::string_view kAliases[] = {"builds list"};

}  // namespace

extern const Command kCommand_builds_ls;
const Command kCommand_builds_ls = {
    .path = "builds ls",
    .aliases = kAliases,
    .summary = "List earlier builds",
    .usage = "[OPTIONS]",
    .help =
        "Every build is recorded; the newest 50 are kept. `kasane why-rebuilt` and\n"
        "`kasane logs` tell more about one.\n\n"
        "Examples:\n"
        "  kasane builds ls\n"
        "  kasane builds ls -n 5 --format json",
    .flags = kFlags,
    .max_arguments = 0,
    .run = run_builds,
};

}  // namespace kasane::cli
