// kasane system df (reference 1.15). Containers and volumes are listed because scripts read the
// rows by number; kasane keeps none.
#include <fmt/format.h>

#include <array>

#include "cli/command.h"
#include "cli/disk_usage.h"
#include "cli/formatter.h"
#include "cli/image_row.h"
#include "cli/images.h"
#include "cli/units.h"

namespace kasane::cli {
namespace {

using tmpl::GoType;
using tmpl::Kind;
using tmpl::Value;

constexpr Column kColumns[] = {{"Active", "ACTIVE"},
                               {"Reclaimable", "RECLAIMABLE"},
                               {"Size", "SIZE"},
                               {"TotalCount", "TOTAL"},
                               {"Type", "TYPE"}};
constexpr GoType kImagesType{"*formatter.diskUsageImagesContext", Kind::kStruct, nullptr, true, true};
constexpr GoType kContainersType{"*formatter.diskUsageContainersContext", Kind::kStruct, nullptr,
                                 true, true};
constexpr GoType kVolumesType{"*formatter.diskUsageVolumesContext", Kind::kStruct, nullptr, true,
                              true};
constexpr GoType kBuilderType{"*formatter.diskUsageBuilderContext", Kind::kStruct, nullptr, true,
                              true};

constexpr Column kCacheColumns[] = {{"CacheType", "CACHE TYPE"},
                                    {"CreatedAt", "CREATED"},
                                    {"CreatedSince", "CREATED"},
                                    {"Description", "DESCRIPTION"},
                                    {"ID", "CACHE ID"},
                                    {"InUse", "IN USE"},
                                    {"LastUsedAt", "LAST USED"},
                                    {"LastUsedSince", "LAST USED"},
                                    {"Parent", "PARENT"},
                                    {"Shared", "SHARED"},
                                    {"Size", "SIZE"},
                                    {"UsageCount", "USAGE"}};
constexpr GoType kCacheType{"*formatter.buildCacheContext", Kind::kStruct, nullptr, true, true};
constexpr Column kContainerColumns[] = {
    {"Command", "COMMAND"}, {"ID", "CONTAINER ID"}, {"Image", "IMAGE"},
    {"LocalVolumes", "LOCAL VOLUMES"}, {"Names", "NAMES"}, {"RunningFor", "CREATED"},
    {"Size", "SIZE"}, {"Status", "STATUS"}};
constexpr Column kVolumeColumns[] = {{"Links", "LINKS"}, {"Name", "VOLUME NAME"}, {"Size", "SIZE"}};

constexpr GoType kUsageType{"*formatter.diskUsageContext", Kind::kStruct, nullptr, true};
constexpr GoType kImageList{"[]*formatter.imageContext", Kind::kList, &kImageRowType};
constexpr GoType kContainerList{"[]*formatter.ContainerContext", Kind::kList, &tmpl::types::kAny};
constexpr GoType kVolumeList{"[]*formatter.volumeContext", Kind::kList, &tmpl::types::kAny};
constexpr GoType kCacheList{"[]*formatter.buildCacheContext", Kind::kList, &kCacheType};

std::string size_text(uint64_t bytes) { return human_size(static_cast<double>(bytes), 4); }

Value summary_row(const DiskUsage& usage, size_t i) {
  auto row = [](const GoType& type, std::string name, size_t count, uint64_t bytes, bool percent) {
    // Nothing is in use, so that all can be had.
    std::string reclaimable = size_text(bytes);
    if (percent && bytes > 0) reclaimable += " (100%)";
    return make_row(type, kColumns,
                    {"0", std::move(reclaimable), size_text(bytes), std::to_string(count),
                     std::move(name)});
  };
  switch (i) {
    case 0:
      return row(kImagesType, "Images", usage.images.size(), usage.layer_bytes, true);
    case 1:
      return row(kContainersType, "Containers", 0, 0, true);
    case 2:
      return row(kVolumesType, "Local Volumes", 0, 0, true);
    default:
      return row(kBuilderType, "Build Cache", usage.steps.size(), usage.step_bytes, false);
  }
}

Value image_value(const ImageUsage& usage, bool no_trunc, int64_t now_ns) {
  ImageRowText row{&usage.image, "<none>", "<none>", "", usage.created, no_trunc, usage.shared_bytes};
  if (!usage.image.tags.empty()) {
    const NameParts parts = name_parts(usage.image.tags.front());
    row.repository = parts.repository;
    row.tag = parts.tag;
  }
  return image_row_value(row, now_ns);
}

Value step_value(const store::StepInfo& step, bool no_trunc, int64_t now_ns) {
  auto since = [&](int64_t ns) { return human_duration(now_ns - ns) + " ago"; };
  auto at = [](int64_t ns) { return go_time(ns / 1'000'000'000); };
  const std::string& id = step.key.hex();
  return make_row(kCacheType, kCacheColumns,
                  {"regular", at(step.created_ns), since(step.created_ns), "",
                   no_trunc ? id : id.substr(0, 12), "false", at(step.last_used_ns),
                   since(step.last_used_ns), "", step.in_image ? "true" : "false",
                   human_size(static_cast<double>(step.size_bytes)), "1"});
}

Result<void> print_details(Context& context, const DiskUsage& usage) {
  const int64_t now_ns = context.now_ns();
  context.out("Images space usage:\n\n");
  TRY(print_list(context, "",
                 {&kImageRowType, kImageColumns,
                  "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t"
                  "{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}",
                  {}},
                 usage.images.size(),
                 [&](size_t i) { return image_value(usage.images[i], false, now_ns); }));
  context.out("\nContainers space usage:\n\n");
  TRY(print_list(context, "",
                 {&kCacheType, kContainerColumns,
                  "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t"
                  "{{.RunningFor}}\t{{.Status}}\t{{.Names}}",
                  {}},
                 0, {}));
  context.out("\nLocal Volumes space usage:\n\n");
  TRY(print_list(context, "",
                 {&kCacheType, kVolumeColumns, "table {{.Name}}\t{{.Links}}\t{{.Size}}", {}}, 0, {}));
  context.out(fmt::format("\nBuild cache usage: {}\n\n", size_text(usage.step_bytes)));
  return print_list(context, "",
                    {&kCacheType, kCacheColumns,
                     "table {{.ID}}\t{{.CacheType}}\t{{.Size}}\t{{.CreatedSince}}\t"
                     "{{.LastUsedSince}}\t{{.UsageCount}}\t{{.Shared}}",
                     {}},
                    usage.steps.size(),
                    [&](size_t i) { return step_value(usage.steps[i], false, now_ns); });
}

// -v with a template: it is run once, on all lists together, and no newline is added.
Value details_value(const DiskUsage& usage, int64_t now_ns) {
  tmpl::List images, steps;
  for (const ImageUsage& image : usage.images) images.push_back(image_value(image, true, now_ns));
  for (const store::StepInfo& step : usage.steps) steps.push_back(step_value(step, true, now_ns));
  return Value::object({{"Images", "Images", Value::list(std::move(images), kImageList)},
                        {"Containers", "Containers", Value::list({}, kContainerList)},
                        {"Volumes", "Volumes", Value::list({}, kVolumeList)},
                        {"BuildCache", "BuildCache", Value::list(std::move(steps), kCacheList)}},
                       kUsageType);
}

Result<int> run_df(Context& context, const Arguments& arguments) {
  store::Store* store = TRY(context.store(true));
  const DiskUsage usage = TRY(disk_usage(*store));
  const std::string format = unescape_format(arguments.value("format"));
  if (!arguments.on("verbose")) {
    ListFormat list{&kImagesType, kColumns, "table {{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}",
                    "type: {{.Type}}\ntotal: {{.TotalCount}}\nactive: {{.Active}}\nsize: {{.Size}}\n"
                    "reclaimable: {{.Reclaimable}}\n"};
    TRY(print_list(context, format, list, 4, [&](size_t i) { return summary_row(usage, i); }));
    return 0;
  }
  if (format.empty() || format.starts_with("table")) {
    TRY(print_details(context, usage));
    return 0;
  }
  const Value value = details_value(usage, context.now_ns());
  context.out(for_terminal(
      context, TRY(format_object(format == "json" ? "{{json .}}" : format, value))));
  return 0;
}

constexpr FlagSpec kFlags[] = {
    kListFormatFlag,
    {.name = "verbose", .shorthand = 'v', .help = "Every image and every cached step"},
};

}  // namespace

extern const Command kCommand_system_df;
const Command kCommand_system_df = {
    .path = "system df",
    .aliases = {},
    .summary = "Show disk usage",
    .usage = "[OPTIONS]",
    .help =
        "Images counts every layer once; the build cache counts layers that no image has. With -v and\n"
        "a template, the template is run once, on .Images and .BuildCache.\n\n"
        "Examples:\n"
        "  kasane system df\n"
        "  kasane system df -v\n"
        "  kasane system df --format '{{.Type}}: {{.Reclaimable}}'",
    .flags = kFlags,
    .max_arguments = 0,
    .run = run_df,
};

}  // namespace kasane::cli
