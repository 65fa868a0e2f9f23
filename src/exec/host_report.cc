#include "exec/host_report.h"

#include <linux/seccomp.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <sstream>

#include "base/fd.h"
#include "exec/helpers.h"
#include "exec/seccomp/profile.h"

namespace kasane::exec {
namespace {

constexpr uint64_t kMaxBytes = 4 << 20;

std::string text_of(const std::string& path) {
  auto text = read_file(path, kMaxBytes);
  return text ? *text : "";
}

bool has_word(const std::string& text, std::string_view word) {
  std::istringstream words(text);
  for (std::string item; words >> item;)
    if (item == word) return true;
  return false;
}

bool in_list(const std::string& list, const std::string& word) {
  return ("," + list + ",").find("," + word + ",") != std::string::npos;
}

// Where the hierarchy of `controller` (v1) or, with "", of v2 is mounted.
std::string mount_point(const std::string& controller) {
  std::istringstream lines(text_of("/proc/self/mounts"));
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    std::string source, target, type, options;
    fields >> source >> target >> type >> options;
    if (controller.empty() ? type == "cgroup2" : type == "cgroup" && in_list(options, controller))
      return target;
  }
  return "";
}

// This process's place in it.
std::string own_group(const std::string& controller) {
  std::istringstream lines(text_of("/proc/self/cgroup"));
  for (std::string line; std::getline(lines, line);) {
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string names = line.substr(first + 1, second - first - 1);
    if (controller.empty() ? names.empty() : in_list(names, controller))
      return line.substr(second + 1);
  }
  return "";
}

// Makes and removes a group in `parent`; "" when that works and `file` is in it.
std::string try_group(const std::string& parent, const char* file) {
  std::string path = parent + "/kasane-probe-XXXXXX";
  if (::mkdtemp(path.data()) == nullptr)
    return Error::from_errno(errno, "create a group in " + parent).message();
  const bool there = ::access((path + "/" + file).c_str(), W_OK) == 0;
  ::rmdir(path.c_str());
  return there ? "" : parent + " does not pass the controller on";
}

LimitReport limit_report(const std::string& controller, const char* v1_file, const char* v2_file) {
  std::string why;
  const std::string v1 = mount_point(controller), v2 = mount_point("");
  if (!v1.empty()) {
    why = try_group(v1 + own_group(controller), v1_file);
    if (why.empty()) return {true, "cgroup v1"};
  }
  if (!v2.empty()) {
    const std::filesystem::path own = v2 + own_group("");
    // A group with processes passes nothing on, so the one above is tried as well.
    for (const std::filesystem::path& place : {own, own.parent_path()}) {
      if (place.string().size() < v2.size()) continue;
      if (!has_word(text_of(place.string() + "/cgroup.subtree_control"), controller)) continue;
      why = try_group(place.string(), v2_file);
      if (why.empty()) return {true, "cgroup v2"};
    }
  }
  std::string advice = "no cgroup that may be written to has the " + controller + " controller";
  if (!why.empty()) advice += " (" + why + ")";
  advice +=
      ::geteuid() == 0
          ? "; mount /sys/fs/cgroup writable, with the controller in cgroup.subtree_control"
      : v1.empty()
          ? "; delegate it: run kasane in `systemd-run --user --scope -p Delegate=yes`"
          : "; a plain user needs cgroup v2 (kernel option systemd.unified_cgroup_hierarchy=1), "
            "delegated by `systemd-run --user --scope -p Delegate=yes`";
  return {false, advice};
}

bool kernel_has_filters() {
  const uint32_t action = SECCOMP_RET_ERRNO;
  return ::syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

void report_networks(HostReport& report) {
  report.networks = {"host", "none"};
  const std::string pasta = find_helper("pasta"), slirp = find_helper("slirp4netns");
  const bool tun = ::access("/dev/net/tun", R_OK | W_OK) == 0;
  if (!tun)
    report.missing_networks.emplace_back(
        ::access("/dev/net/tun", F_OK) == 0
            ? "private network: /dev/net/tun may not be opened by you: `chmod 0666 /dev/net/tun`"
            : "private network: /dev/net/tun is missing: `modprobe tun`, or start the container "
              "with --device /dev/net/tun");
  if (pasta.empty() && slirp.empty())
    report.missing_networks.emplace_back(
        "private network: pasta (package passt) or slirp4netns (package slirp4netns)");
  if (!tun || (pasta.empty() && slirp.empty())) return;
  report.networks.emplace_back("private");
  if (!pasta.empty()) report.networks.emplace_back("pasta");
  if (!slirp.empty()) report.networks.emplace_back("slirp4netns");
}

}  // namespace

HostReport report_host(const std::string& store_directory) {
  HostReport report;
  report.sandbox = probe_sandbox(store_directory);
  report_networks(report);
  report.memory = limit_report("memory", "memory.limit_in_bytes", "memory.max");
  report.pids = limit_report("pids", "pids.max", "pids.max");
  report.cgroup_version = mount_point("memory").empty() && !mount_point("").empty() ? "2" : "1";
  report.seccomp_profile = installed_profile();
  report.seccomp = !kernel_has_filters() ? "none: the kernel was built without CONFIG_SECCOMP_FILTER"
                   : report.seccomp_profile.empty()
                       ? "built in (Docker's default profile)"
                       : "built in (Docker's default profile), and " + report.seccomp_profile;
  return report;
}

}  // namespace kasane::exec
