// The parts of PreparedLaunch that check mounts and resource limits.
#include <sys/resource.h>

#include <algorithm>
#include <cstdio>

#include "exec/sandbox/launch_plan.h"

namespace kasane::exec {
namespace {

constexpr size_t kMaxOverlayLowers = 499;  // overlayfs takes 500; one may be ours
constexpr uint64_t kMaxFileBytes = 64 << 20;

struct Resource {
  std::string_view name;
  int number;
};
constexpr Resource kResources[] = {{"core", RLIMIT_CORE},         {"cpu", RLIMIT_CPU},
                                   {"data", RLIMIT_DATA},         {"fsize", RLIMIT_FSIZE},
                                   {"locks", RLIMIT_LOCKS},       {"memlock", RLIMIT_MEMLOCK},
                                   {"msgqueue", RLIMIT_MSGQUEUE}, {"nice", RLIMIT_NICE},
                                   {"nofile", RLIMIT_NOFILE},     {"nproc", RLIMIT_NPROC},
                                   {"rss", RLIMIT_RSS},           {"rtprio", RLIMIT_RTPRIO},
                                   {"rttime", RLIMIT_RTTIME},     {"sigpending", RLIMIT_SIGPENDING},
                                   {"stack", RLIMIT_STACK}};

Error invalid(std::string message) { return Error(ErrorKind::kInvalid, std::move(message)); }

std::string octal(uint32_t mode) {
  char text[16];
  std::snprintf(text, sizeof text, "%o", mode & 07777u);
  return text;
}

std::string limit_text(rlim_t value) {
  return value == RLIM_INFINITY ? "unlimited" : std::to_string(value);
}

}  // namespace

const char* PreparedLaunch::keep(std::string text) {
  texts_.push_back(std::make_unique<std::string>(std::move(text)));
  return texts_.back()->c_str();
}

Result<void> PreparedLaunch::prepare_overlay(const Mount& mount, MountPlan& plan) {
  if (mount.lower_trees.size() > kMaxOverlayLowers)
    return Error(ErrorKind::kLimit,
                 "mount " + mount.target + " has " + std::to_string(mount.lower_trees.size()) +
                     " layers; overlayfs takes " + std::to_string(kMaxOverlayLowers));
  auto list = std::make_unique<std::vector<const char*>>();
  for (auto it = mount.lower_trees.rbegin(); it != mount.lower_trees.rend(); ++it)
    list->push_back(keep(TRY(absolute_path(*it, "layer tree of a mount"))));
  plan.lower_count = list->size();
  list->push_back(nullptr);  // for the empty tree that overlayfs wants
  plan.lowers = list->data();
  lists_.push_back(std::move(list));
  TRY(check_text(mount.sub_path, "the path inside a mount"));
  size_t start = mount.sub_path.find_first_not_of('/');
  plan.sub_path = keep(start == std::string::npos ? "." : mount.sub_path.substr(start));
  if (mount.read_only) return {};
  if (mount.upper_dir.empty() || mount.work_dir.empty())
    return invalid("mount " + mount.target + " is writable but has no directory for writes");
  plan.upper = keep(TRY(absolute_path(mount.upper_dir, "upper directory of a mount")));
  plan.work = keep(TRY(absolute_path(mount.work_dir, "work directory of a mount")));
  return {};
}

Result<void> PreparedLaunch::prepare_mount(const Mount& mount, MountPlan& plan) {
  TRY(check_text(mount.target, "mount target"));
  if (!mount.target.starts_with('/'))
    return invalid("mount target \"" + mount.target + "\" is not absolute");
  if (mount.target.find_first_not_of('/') == std::string::npos)
    return invalid("a mount may not cover the root of the image");
  plan.type = mount.type;
  plan.target = keep(mount.target);
  plan.read_only = mount.read_only;
  plan.no_exec = mount.no_exec;
  plan.uid = mount.uid;
  plan.gid = mount.gid;
  switch (mount.type) {
    case Mount::Type::kBind:
    case Mount::Type::kSocket:
      plan.source = keep(TRY(absolute_path(mount.source, "mount source")));
      return {};
    case Mount::Type::kTmpfs:
      if (mount.size_bytes != 0) plan.size_bytes = keep(std::to_string(mount.size_bytes));
      plan.mode_text = keep(octal(mount.mode.value_or(01777)));
      plan.uid_text = keep(std::to_string(mount.uid));
      plan.gid_text = keep(std::to_string(mount.gid));
      return {};
    case Mount::Type::kFile:
      if (mount.content.size() > kMaxFileBytes)
        return Error(ErrorKind::kLimit,
                     "the file for mount " + mount.target + " is larger than 64 MiB");
      plan.mode = mount.mode.value_or(0400) & 07777;
      plan.content = mount.content;
      return {};
    case Mount::Type::kOverlay:
      return prepare_overlay(mount, plan);
  }
  return invalid("mount " + mount.target + " is of an unknown kind");
}

// Checked here for a message with numbers; the kernel has the last word in the step.
Result<void> PreparedLaunch::prepare_limits(const RunSpec& spec) {
  for (const Ulimit& limit : spec.ulimits) {
    const Resource* resource =
        std::find_if(std::begin(kResources), std::end(kResources),
                     [&](const Resource& r) { return r.name == limit.name; });
    if (resource == std::end(kResources))
      return invalid("unknown ulimit \"" + limit.name + "\"")
          .hint(
              "known: core, cpu, data, fsize, locks, memlock, msgqueue, nice, nofile, nproc, "
              "rss, rtprio, rttime, sigpending, stack");
    if (limit.soft > limit.hard)
      return invalid("ulimit " + limit.name + ": the soft limit " + limit_text(limit.soft) +
                     " is above the hard limit " + limit_text(limit.hard));
    rlimit own{};
    ::getrlimit(static_cast<__rlimit_resource>(resource->number), &own);
    if (plan_.user_namespace && limit.hard > own.rlim_max)
      return invalid("ulimit " + limit.name + ": " + limit_text(limit.hard) +
                     " is above the hard limit of this host, " + limit_text(own.rlim_max))
          .hint("raise it for the user who runs kasane, in /etc/security/limits.conf");
    limits_.push_back({resource->number, resource->name.data(), limit.soft, limit.hard});
  }
  plan_.limits = limits_.data();
  plan_.limit_count = limits_.size();
  return {};
}

}  // namespace kasane::exec
