// kasane info: what this host lets kasane do, and what the store holds.
#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/diagnostic.h"
#include "cli/command.h"
#include "cli/formatter.h"
#include "exec/host_report.h"
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

// As docker words them.
std::vector<std::string> security_options(const exec::HostReport& report) {
  std::vector<std::string> options;
  if (!report.seccomp.starts_with("none"))
    options.emplace_back("name=seccomp,profile=" +
                         (report.seccomp_profile.empty() ? "builtin" : report.seccomp_profile));
  if (report.sandbox.mode == exec::SandboxMode::kRootlessRange ||
      report.sandbox.mode == exec::SandboxMode::kSingleUid)
    options.emplace_back("name=rootless");
  return options;
}

std::string joined(const Value& list) {
  std::string text;
  for (const Value& item : list.items()) text += (text.empty() ? "" : ", ") + sanitize(item.text());
  return text;
}

std::string limits_line(const Value& info) {
  std::string text;
  if (info.find_field("MemoryLimit")->truth()) text = "memory";
  if (info.find_field("PidsLimit")->truth()) text += text.empty() ? "pids" : ", pids";
  if (text.empty()) return "none";
  return text + " (cgroup v" + sanitize(info.find_field("CgroupVersion")->text()) + ")";
}

Result<Value> info_value(Context& context) {
  store::Store* store = TRY(context.store(true));
  const exec::HostReport report = exec::report_host(store->root());
  const exec::SandboxSupport& support = report.sandbox;
  std::vector<std::string> missing = support.missing;
  missing.insert(missing.end(), report.missing_networks.begin(), report.missing_networks.end());
  if (!report.memory.possible) missing.push_back("limit of memory: " + report.memory.how);
  if (!report.pids.possible) missing.push_back("limit of processes: " + report.pids.how);
  utsname kernel{};
  ::uname(&kernel);
  const oci::Platform host = oci::Platform::host();
  const int64_t images = static_cast<int64_t>(TRY(store->list_images()).size());
  return Value::object(
      {{"ServerVersion", "ServerVersion", Value::string(KASANE_VERSION)},
       {"DockerRootDir", "DockerRootDir", Value::string(store->root())},
       {"Images", "Images", Value::integer(images)},
       {"Driver", "Driver", Value::string(support.storage.empty() ? "none" : support.storage)},
       {"Sandbox", "Sandbox", Value::string(mode_name(support.mode))},
       {"SandboxReason", "SandboxReason", Value::string(support.reason), true},
       {"Missing", "Missing", Value::strings(missing)},
       {"Networks", "Networks", Value::strings(report.networks)},
       {"MemoryLimit", "MemoryLimit", Value::boolean(report.memory.possible)},
       {"PidsLimit", "PidsLimit", Value::boolean(report.pids.possible)},
       {"CgroupVersion", "CgroupVersion", Value::string(report.cgroup_version)},
       {"SecurityOptions", "SecurityOptions", Value::strings(security_options(report))},
       {"SeccompProfile", "SeccompProfile", Value::string(report.seccomp)},
       {"KernelVersion", "KernelVersion", Value::string(kernel.release)},
       {"NCPU", "NCPU", Value::integer(::sysconf(_SC_NPROCESSORS_ONLN))},
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
  out += fmt::format(" Network:        {} (default: host)\n Limits:         {}\n Seccomp:        {}\n",
                     joined(*info.find_field("Networks")), limits_line(info), text("SeccompProfile"));
  if (!text("SandboxReason").empty())
    out += fmt::format(" Reason:         {}\n", text("SandboxReason"));
  for (const Value& missing : info.find_field("Missing")->items())
    out += fmt::format(" Missing:        {}\n", sanitize(missing.text()));
  context.out(out);
  return 0;
}

constexpr FlagSpec kFlags[] = {kObjectFormatFlag};
constexpr std::string_view kAliases[] = {"system info"};

}  // namespace

extern const Command kCommand_info;
const Command kCommand_info = {
    .path = "info",
    .aliases = kAliases,
    .summary = "Display information about the store and this host",
    .usage = "[OPTIONS]",
    .help =
        "Says how RUN steps are isolated here, and which kernel setting, package or file is\n"
        "missing for a better way. What it finds out is kept in the store for later builds, so\n"
        "run it again after a change of this host that kasane does not notice by itself.\n\n"
        "Examples:\n"
        "  kasane info\n"
        "  kasane info --format '{{.DockerRootDir}}'",
    .flags = kFlags,
    .max_arguments = 0,
    .run = run_info,
};

}  // namespace kasane::cli
