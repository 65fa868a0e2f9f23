#include "exec/sandbox/launch_plan.h"

#include <unistd.h>

#include <charconv>
#include <filesystem>
#include <set>

#include "base/fd.h"
#include "exec/helpers.h"
#include "exec/sandbox/net_files.h"
#include "exec/sandbox/user_network.h"

namespace kasane::exec {
namespace {

constexpr std::string_view kDefaultPath =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
constexpr size_t kMaxLowers = 500;  // overlayfs refuses 501
constexpr size_t kMaxHostsBytes = 1 << 20;
constexpr size_t kMaxHostname = 64;  // __NEW_UTS_LEN
// Fields of /proc/self/stat (proc(5)), counted from 1.
constexpr size_t kArgStart = 48, kArgEnd = 49, kEnvStart = 50, kEnvEnd = 51;

Error invalid(std::string message) { return Error(ErrorKind::kInvalid, std::move(message)); }

// Where this process keeps its arguments and environment.
Result<void> find_secrets(HostFacts& facts) {
  UniqueFd fd = TRY(open_file("/proc/self/stat", O_RDONLY));
  std::string text = TRY(read_fd(fd.get(), 1 << 16, "/proc/self/stat"));
  size_t at = text.rfind(')');  // the program's name may hold anything
  uint64_t values[kEnvEnd + 1] = {};
  size_t field = 2;
  while (at != std::string::npos && field < kEnvEnd) {
    at = text.find(' ', at);
    if (at == std::string::npos) break;
    ++at;
    ++field;
    std::from_chars(text.data() + at, text.data() + text.size(), values[field]);
  }
  if (values[kArgStart] == 0 || values[kEnvEnd] < values[kArgStart])
    return Error(ErrorKind::kUnsupported, "/proc/self/stat does not tell where arguments are");
  // The two areas adjoin; only what lies between the ends is written.
  facts.secrets_begin = values[kArgStart];
  facts.secrets_end = values[kEnvStart] >= values[kArgEnd] ? values[kEnvEnd] : values[kArgEnd];
  return {};
}

}  // namespace

std::vector<std::string> topmost_trees(const std::vector<std::string>& lowest_first) {
  std::vector<std::string> result;
  std::set<std::string_view> seen;
  for (auto it = lowest_first.rbegin(); it != lowest_first.rend(); ++it)
    if (seen.insert(*it).second) result.push_back(*it);
  return result;
}

Result<void> check_text(std::string_view text, const char* what) {
  if (text.find('\0') == std::string_view::npos) return {};
  return invalid(std::string(what) + " holds a NUL byte");
}

Result<std::string> absolute_path(const std::string& path, const char* what) {
  TRY(check_text(path, what));
  if (path.empty()) return invalid(std::string(what) + " is empty");
  if (path[0] == '/') return path;
  std::error_code error;
  std::filesystem::path result = std::filesystem::absolute(path, error);
  if (error) return Error::from_errno(error.value(), "find the absolute path of " + path);
  return result.string();
}

Result<HostFacts> collect_host_facts(SandboxMode mode, Storage storage) {
  HostFacts facts;
  facts.mode = mode;
  facts.storage = storage;
  if (storage == Storage::kFuseOverlay) facts.fuse_overlayfs = find_helper("fuse-overlayfs");
  facts.userxattr = mode != SandboxMode::kRoot;
  facts.resolv_conf = make_resolv_conf();
  facts.cpu_count = static_cast<int>(::sysconf(_SC_NPROCESSORS_CONF));
  TRY(find_secrets(facts));
  return facts;
}

Result<std::unique_ptr<PreparedLaunch>> PreparedLaunch::make(const RunSpec& spec,
                                                             const HostFacts& facts,
                                                             const CopiedTrees& copies) {
  std::unique_ptr<PreparedLaunch> launch(new PreparedLaunch());
  LaunchPlan& plan = launch->plan_;
  plan.user_namespace = facts.mode != SandboxMode::kRoot;
  plan.single_id = facts.mode == SandboxMode::kSingleUid;
  plan.userxattr = facts.userxattr;
  plan.resolv_conf = facts.resolv_conf;
  plan.cpu_count = facts.cpu_count;
  for (const std::vector<sock_filter>& code : facts.filters)
    launch->filters_.push_back({code.data(), code.size()});
  plan.filters = launch->filters_.data();
  plan.filter_count = launch->filters_.size();
  plan.secrets_begin = facts.secrets_begin;
  plan.secrets_end = facts.secrets_end;
  TRY(launch->prepare_root(spec));
  TRY(launch->prepare_mounts(spec));
  launch->prepare_storage(facts, copies);
  TRY(launch->prepare_limits(spec));
  TRY(launch->prepare_process(spec));
  plan.insecure = spec.security == Security::kInsecure;
  if (spec.terminal) plan.pty_master = &launch->pty_master_;
  // Their large arrays stay untouched, or every step would pay for the pages.
  launch->stubs_ = std::make_unique_for_overwrite<StubJournal>();
  launch->identity_ = std::make_unique_for_overwrite<UserIdentity>();
  plan.stubs = launch->stubs_.get();
  plan.identity = launch->identity_.get();
  plan.home = &launch->home_;
  return launch;
}

Result<void> PreparedLaunch::prepare_root(const RunSpec& spec) {
  if (spec.lower_trees.size() > kMaxLowers)
    return Error(ErrorKind::kLimit, "the image has " + std::to_string(spec.lower_trees.size()) +
                                        " layers; overlayfs takes " + std::to_string(kMaxLowers))
        .hint("merge RUN, COPY and ADD instructions of the base image");
  for (const std::string& tree : topmost_trees(spec.lower_trees))
    lowers_.push_back(TRY(absolute_path(tree, "layer tree")));
  for (const std::string& lower : lowers_) lower_pointers_.push_back(lower.c_str());
  upper_ = TRY(absolute_path(spec.upper_dir, "upper directory"));
  work_ = TRY(absolute_path(spec.work_dir, "work directory"));
  plan_.lowers = lower_pointers_.data();
  plan_.lower_count = lower_pointers_.size();
  plan_.read_only_root = spec.read_only_root;
  plan_.upper = upper_.c_str();
  plan_.work = work_.c_str();
  return {};
}

void PreparedLaunch::prepare_storage(const HostFacts& facts, const CopiedTrees& copies) {
  plan_.storage = facts.storage;
  plan_.fuse_overlayfs = facts.fuse_overlayfs.c_str();
  if (!copies.root().empty()) {
    plan_.copied_root = copies.root().c_str();
    plan_.untouched_file = keep(copies.untouched_file());
  }
  for (size_t i = 0; i < mounts_.size(); ++i)
    if (!copies.views()[i].empty()) mounts_[i].view_root = copies.views()[i].c_str();
}

Result<void> PreparedLaunch::prepare_mounts(const RunSpec& spec) {
  uint64_t secret_bytes = 0;
  for (const Mount& mount : spec.mounts) {
    MountPlan plan;
    TRY(prepare_mount(mount, plan));
    mounts_.push_back(plan);
    // A page each and some for the tree; pages may be 64 KiB.
    if (mount.type == Mount::Type::kFile) secret_bytes += mount.content.size() + (128 << 10);
  }
  plan_.mounts = mounts_.data();
  plan_.mount_count = mounts_.size();
  plan_.secrets_size = keep(std::to_string(secret_bytes));
  constexpr uint64_t kDefaultShm = 64 << 20;
  plan_.shm_size =
      keep(std::to_string(spec.shm_size_bytes != 0 ? spec.shm_size_bytes : kDefaultShm));
  plan_.own_network = spec.network != Network::kHost;
  if (plan_.own_network && spec.network != Network::kNone) {
    plan_.user_network = TRY(choose_user_network(spec.network));
    resolv_conf_ = resolv_conf_for(*plan_.user_network, plan_.resolv_conf);
    plan_.resolv_conf = resolv_conf_;
  }
  TRY(check_text(spec.hostname, "host name"));
  if (spec.hostname.size() > kMaxHostname) return invalid("the host name is longer than 64 bytes");
  hostname_ = spec.hostname;
  plan_.hostname = hostname_.c_str();
  hosts_ = make_hosts(spec.hostname, spec.extra_hosts);
  if (hosts_.size() > kMaxHostsBytes)
    return Error(ErrorKind::kLimit, "the extra lines for /etc/hosts are larger than 1 MiB");
  plan_.hosts = hosts_;
  return {};
}

Result<void> PreparedLaunch::prepare_process(const RunSpec& spec) {
  if (spec.argv.empty() || spec.argv[0].empty()) return invalid("RUN has no program to start");
  for (const std::string& arg : spec.argv) TRY(check_text(arg, "an argument"));
  argv_ = spec.argv;
  for (std::string& arg : argv_) argv_pointers_.push_back(arg.data());
  argv_pointers_.push_back(nullptr);

  path_ = kDefaultPath;
  plan_.add_home = true;
  for (const std::string& variable : spec.env) {
    TRY(check_text(variable, "an environment variable"));
    size_t equals = variable.find('=');
    // Never looked up on the host (reference B14).
    if (equals == std::string::npos || equals == 0) continue;
    std::string_view name = std::string_view(variable).substr(0, equals);
    if (name == "PATH") path_ = variable.substr(equals + 1);
    if (name == "HOME") plan_.add_home = false;
    env_.push_back(variable);
  }
  for (std::string& variable : env_) env_pointers_.push_back(variable.data());
  plan_.env_count = env_pointers_.size();
  env_pointers_.resize(plan_.env_count + 2, nullptr);

  TRY(check_text(spec.user, "the user"));
  TRY(check_text(spec.cwd, "the working directory"));
  user_ = spec.user;
  cwd_ = spec.cwd.empty() ? "/" : spec.cwd;
  if (cwd_[0] != '/') return invalid("working directory \"" + cwd_ + "\" is not absolute");
  plan_.user = user_;
  plan_.cwd = cwd_.c_str();
  plan_.argv = argv_pointers_.data();
  plan_.env = env_pointers_.data();
  plan_.path = path_;
  return {};
}

}  // namespace kasane::exec
