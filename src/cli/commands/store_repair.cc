// kasane store repair: makes the store what it says that it is, and tells what that took.
#include <fmt/format.h>

#include "base/diagnostic.h"
#include "cli/command.h"
#include "cli/registry_io.h"
#include "cli/signals.h"
#include "cli/template/value.h"
#include "store/repair.h"
#include "transfer/repair.h"

namespace kasane::cli {
namespace {

using tmpl::Value;

constexpr tmpl::GoType kActionType{"action", tmpl::Kind::kStruct};
constexpr tmpl::GoType kReportType{"report", tmpl::Kind::kStruct};
constexpr tmpl::GoType kActionList{"[]action", tmpl::Kind::kList, &kActionType};

std::string json_report(const std::vector<store::RepairAction>& actions, size_t damaged) {
  tmpl::List list;
  for (const store::RepairAction& action : actions)
    list.push_back(Value::object({{"Action", "action", Value::string(action.action)},
                                  {"Kind", "kind", Value::string(action.kind)},
                                  {"Name", "name", Value::string(action.name)},
                                  {"Reason", "reason", Value::string(action.reason)}},
                                 kActionType));
  return tmpl::to_json(
      Value::object({{"Actions", "actions", Value::list(std::move(list), kActionList)},
                     {"Damaged", "damaged", Value::integer(static_cast<int64_t>(damaged))}},
                    kReportType),
      false);
}

Result<int> run_repair(Context& context, const Arguments& arguments) {
  const std::string format = arguments.value("format");
  if (!format.empty() && format != "json")
    return Error(ErrorKind::kInvalid, fmt::format("unknown format {}: use json", quote(format)));
  auto interrupts = TRY(InterruptWatcher::start());
  store::OpenOptions options;
  options.root = store::default_root(context.globals.root);
  std::vector<store::RepairAction> actions =
      TRY_CONTEXT(store::rebuild_database(options), "rebuild the store's database");
  store::Store* store = TRY(context.store(false));
  const auto open = [&](const oci::Reference& reference) {
    return registry::Repository::open(surroundings_of(context), reference);
  };
  std::vector<store::RepairAction> more =
      TRY(transfer::repair(*store, open, interrupts->token()));
  actions.insert(actions.end(), more.begin(), more.end());
  size_t damaged = 0;
  if (!actions.empty()) damaged = TRY(store->check({})).damaged.size();
  if (format == "json") {
    context.out(json_report(actions, damaged) + "\n");
  } else {
    for (const store::RepairAction& action : actions)
      context.out(sanitize(fmt::format("{} {} {}: {}", action.action, action.kind, action.name,
                                       action.reason)) +
                  "\n");
    if (actions.empty()) context.err("nothing is damaged\n");
  }
  if (damaged == 0) return 0;
  context.err(fmt::format("{} objects are still damaged; `kasane store check` names them\n", damaged));
  return 1;
}

constexpr FlagSpec kFlags[] = {
    {.name = "format",
     .kind = FlagKind::kString,
     .value_name = "string",
     .help = "'json': one JSON object"},
};

}  // namespace

extern const Command kCommand_store_repair;
const Command kCommand_store_repair = {
    .path = "store repair",
    .aliases = {},
    .summary = "Make damaged objects of the store again, fetch them again, or drop them",
    .usage = "[OPTIONS]",
    .help =
        "Prints one line for each thing that it did: \"rebuilt\" from what is sound in the store,\n"
        "\"fetched\" from the registry that the image was pulled from or pushed to, or \"dropped\",\n"
        "with every image and cached step that cannot be without it. Objects that are sound stay as\n"
        "they are. A database that cannot be read is made again from the layers and configurations\n"
        "that are there; names that it alone knew are lost then. Exit status 1 says that something\n"
        "is still damaged.\n\n"
        "Examples:\n"
        "  kasane store repair\n"
        "  kasane store check || kasane store repair --format json",
    .flags = kFlags,
    .max_arguments = 0,
    .run = run_repair,
};

}  // namespace kasane::cli
