// kasane store check: reads the store and names every object that is not what it should be.
#include <fmt/format.h>

#include "base/diagnostic.h"
#include "cli/command.h"
#include "cli/template/value.h"
#include "cli/units.h"
#include "store/store.h"

namespace kasane::cli {
namespace {

using tmpl::Value;

constexpr tmpl::GoType kDamageType{"damage", tmpl::Kind::kStruct};
constexpr tmpl::GoType kReportType{"report", tmpl::Kind::kStruct};
constexpr tmpl::GoType kDamageList{"[]damage", tmpl::Kind::kList, &kDamageType};

std::string json_report(const store::CheckReport& report) {
  tmpl::List damaged;
  for (const store::DamagedObject& object : report.damaged)
    damaged.push_back(Value::object({{"Kind", "kind", Value::string(object.kind)},
                                     {"Name", "name", Value::string(object.name)},
                                     {"Reason", "reason", Value::string(object.reason)}},
                                    kDamageType));
  auto number = [](uint64_t value) { return Value::integer(static_cast<int64_t>(value)); };
  return tmpl::to_json(
      Value::object({{"Damaged", "damaged", Value::list(std::move(damaged), kDamageList)},
                     {"Images", "images", number(report.images)},
                     {"Layers", "layers", number(report.layers)},
                     {"Blobs", "blobs", number(report.blobs)},
                     {"Leftovers", "leftovers", number(report.leftovers)},
                     {"BytesRead", "bytes_read", number(report.bytes_read)}},
                    kReportType),
      false);
}

Result<int> run_check(Context& context, const Arguments& arguments) {
  const std::string format = arguments.value("format");
  if (!format.empty() && format != "json")
    return Error(ErrorKind::kInvalid, fmt::format("unknown format {}: use json", quote(format)));
  Result<store::Store*> store = context.store(true);
  store::CheckReport report;
  if (store) {
    report = TRY((*store)->check({.deep = !arguments.on("quick")}));
  } else if (store.error().kind() == ErrorKind::kCorrupt) {
    report.damaged.push_back({"database", "kasane.db", store.error().full_message()});
  } else {
    return std::move(store.error());
  }
  const int status = report.damaged.empty() ? 0 : 1;
  if (format == "json") {
    context.out(json_report(report) + "\n");
    return status;
  }
  for (const store::DamagedObject& object : report.damaged)
    context.out(sanitize(fmt::format("{} {}: {}", object.kind, object.name, object.reason)) + "\n");
  context.err(fmt::format(
      "checked {} images, {} layers, {} blobs ({} read): {} damaged, {} leftovers\n", report.images,
      report.layers, report.blobs, human_size(static_cast<double>(report.bytes_read)),
      report.damaged.size(), report.leftovers));
  return status;
}

constexpr FlagSpec kFlags[] = {
    {.name = "format",
     .kind = FlagKind::kString,
     .value_name = "string",
     .help = "'json': one JSON object"},
    {.name = "quick", .help = "Look at sizes and presence only, hash nothing"},
};

}  // namespace

extern const Command kCommand_store_check;
const Command kCommand_store_check = {
    .path = "store check",
    .aliases = {},
    .summary = "Verify every image, layer and blob of the store",
    .usage = "[OPTIONS]",
    .help =
        "Prints one line for each damaged object and ends with status 1 if there is one. It\n"
        "changes nothing; `kasane store repair` does. Leftovers are unfinished objects of processes\n"
        "that died; the next command that writes removes them, or `kasane store sweep` does.\n\n"
        "Examples:\n"
        "  kasane store check\n"
        "  kasane store check --quick --format json",
    .flags = kFlags,
    .max_arguments = 0,
    .run = run_check,
};

}  // namespace kasane::cli
