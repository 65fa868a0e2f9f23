// kasane info: what this host lets kasane do, and what the store holds.
#include <fmt/format.h>

#include "base/diagnostic.h"
#include "cli/command.h"
#include "cli/formatter.h"
#include "exec/executor.h"
#include "oci/platform.h"
#include "store/store.h"

namespace kasane::cli {
namespace {

using tmpl::Value;

constexpr tmpl::GoType kInfoType{"*system.dockerInfo", tmpl::Kind::kStruct, nullptr, true};

std::string mode_name(exec::SandboxMode mode) {
  switch (mode) {
    case exec::SandboxMode::kRoot:
      return "root";
    case exec::SandboxMode::kRootlessRange:
      return "rootless (subordinate ids)";
    case exec::SandboxMode::kSingleUid:
      return "rootless (one id)";
    case exec::SandboxMode::kNone:
      return "none: RUN is not possible";
  }
  return {};
}

Result<Value> info_value(Context& context) {
  store::Store* store = TRY(context.store(true));
  exec::SandboxSupport support = exec::probe_sandbox(store->root());
  const oci::Platform host = oci::Platform::host();
  const int64_t images = static_cast<int64_t>(TRY(store->list_images()).size());
  return Value::object(
      {{"ServerVersion", "ServerVersion", Value::string(KASANE_VERSION)},
       {"DockerRootDir", "DockerRootDir", Value::string(store->root())},
       {"Images", "Images", Value::integer(images)},
       {"Driver", "Driver", Value::string(support.storage.empty() ? "none" : support.storage)},
       {"Sandbox", "Sandbox", Value::string(mode_name(support.mode))},
       {"SandboxReason", "SandboxReason", Value::string(support.reason), true},
       {"Missing", "Missing", Value::strings(support.missing)},
       {"OSType", "OSType", Value::string(host.os)},
       {"Architecture", "Architecture", Value::string(host.architecture)}},
      kInfoType);
}

Result<int> run_info(Context& context, const Arguments& arguments) {
  const Value info = TRY(info_value(context));
  const std::string format = arguments.value("format");
  if (!format.empty()) {
    context.out(TRY(format_object(format, info)) + "\n");
    return 0;
  }
  auto text = [&](std::string_view name) { return sanitize(info.find_field(name)->text()); };
  std::string out = fmt::format(
      "kasane:\n Version:        {}\n Store:          {}\n Images:         {}\n OS/Arch:        "
      "{}/{}\n"
      "Sandbox for RUN:\n Mode:           {}\n Storage Driver: {}\n",
      text("ServerVersion"), text("DockerRootDir"), info.find_field("Images")->as_int(),
      text("OSType"), text("Architecture"), text("Sandbox"), text("Driver"));
  if (!text("SandboxReason").empty())
    out += fmt::format(" Reason:         {}\n", text("SandboxReason"));
  for (const Value& missing : info.find_field("Missing")->items())
    out += fmt::format(" Missing:        {}\n", sanitize(missing.text()));
  context.out(out);
  return 0;
}

constexpr FlagSpec kFlags[] = {kObjectFormatFlag};

}  // namespace

extern const Command kCommand_info;
const Command kCommand_info = {
    .path = "info",
    .aliases = {},
    .summary = "Display information about the store and this host",
    .usage = "[OPTIONS]",
    .help =
        "Says how RUN steps are isolated here, and which kernel setting, package or file is\n"
        "missing for a better way.\n\n"
        "Examples:\n"
        "  kasane info\n"
        "  kasane info --format '{{.DockerRootDir}}'",
    .flags = kFlags,
    .max_arguments = 0,
    .run = run_info,
};

}  // namespace kasane::cli
