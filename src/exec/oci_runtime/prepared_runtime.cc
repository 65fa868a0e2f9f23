#include "exec/oci_runtime/prepared_runtime.h"

#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <new>
#include <string_view>

#include "exec/capabilities.h"
#include "exec/oci_runtime/config_writer.h"
#include "exec/oci_runtime/runtime_keeper.h"
#include "exec/sandbox/step.h"
#include "oci/json.h"

namespace kasane::exec {
namespace {

void add_strings(std::string& json, const std::vector<std::string>& texts) {
  for (size_t i = 0; i < texts.size(); ++i) {
    if (i > 0) json += ',';
    oci::write_json_string(json, texts[i]);
  }
}

std::string capability_list(uint64_t mask) {
  std::string json = "[";
  add_strings(json, capability_names(mask));
  return json + "]";
}

// A user other than root has none, but programs with file capabilities can get them.
std::string capability_sets(uint64_t bounding, uint64_t effective) {
  return "{\"bounding\":" + capability_list(bounding) +
         ",\"effective\":" + capability_list(effective) +
         ",\"permitted\":" + capability_list(effective) + ",\"inheritable\":[],\"ambient\":[]}";
}

std::string limit_json(std::string_view name, rlim_t soft, rlim_t hard) {
  std::string upper = "RLIMIT_";
  for (char c : name) upper += static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
  std::string json = "{\"type\":";
  oci::write_json_string(json, upper);
  return json + ",\"soft\":" + std::to_string(soft) + ",\"hard\":" + std::to_string(hard) + "}";
}

// The defaults of step.h, then what the user asked for; a runtime refuses one named twice.
std::string limits_json(const LaunchPlan& plan) {
  rlimit own{};
  ::getrlimit(RLIMIT_NOFILE, &own);
  const rlimit files = default_file_limit(own);
  std::vector<LimitPlan> limits = {{RLIMIT_CORE, "core", 0, 0},
                                   {RLIMIT_NOFILE, "nofile", files.rlim_cur, files.rlim_max}};
  for (size_t i = 0; i < plan.limit_count; ++i) {
    std::erase_if(limits, [&](const LimitPlan& limit) {
      return limit.resource == plan.limits[i].resource;
    });
    limits.push_back(plan.limits[i]);
  }
  std::string json;
  for (const LimitPlan& limit : limits) {
    if (!json.empty()) json += ',';
    json += limit_json(limit.name, limit.soft, limit.hard);
  }
  return json;
}

std::vector<char*> pointers_of(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

Result<void> check_is_utf8(std::string_view text, const char* what) {
  if (is_utf8(text)) return {};
  return Error(ErrorKind::kInvalid, std::string(what) +
                                        " is not valid UTF-8, and the configuration of an OCI "
                                        "runtime can hold nothing else")
      .hint("use the built-in sandbox (--isolation sandbox)");
}

Result<void> check_spec(const RunSpec& spec, const LaunchPlan& plan) {
  if (spec.terminal || spec.read_only_root)
    return Error(ErrorKind::kUnsupported,
                 std::string(spec.terminal ? "a terminal" : "a read-only root") +
                     " is not supported with --isolation oci")
        .hint("use the built-in sandbox (--isolation sandbox)");
  for (const std::string& argument : spec.argv)
    TRY(check_is_utf8(argument, "an argument of the command"));
  for (const std::string& variable : spec.env)
    TRY(check_is_utf8(variable, "an environment variable"));
  TRY(check_is_utf8(plan.cwd, "the working directory"));
  TRY(check_is_utf8(plan.upper, "the path of the store"));
  return {};
}

}  // namespace

struct PreparedRuntime::Shared {
  UserIdentity identity;
  FixedText<4200> home;
};

RuntimeFacts collect_runtime_facts(Runtime runtime, SandboxMode mode) {
  RuntimeFacts facts;
  facts.runtime = std::move(runtime);
  for (unsigned cap = 0; cap < known_capabilities(); ++cap)
    if (::prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0)  // this kernel has it
      facts.capabilities |= uint64_t{1} << cap;
  if (mode != SandboxMode::kRoot) return facts;  // root of its user namespace has them all
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  if (::syscall(SYS_capget, &header, data) == 0)
    facts.capabilities &= data[0].permitted | static_cast<uint64_t>(data[1].permitted) << 32;
  return facts;
}

void PreparedRuntime::prepare_arguments(const RuntimeFacts& facts, const std::string& work) {
  program_ = facts.runtime.path;
  pid_file_ = work + "/pid";
  config_file_ = work + "/config.json";
  null_device_ = work + "/null";
  std::vector<std::string> options = {program_, "--root", work + "/state"};
  // None of them is to touch a cgroup; see RuntimeKeeper::hide_cgroups.
  if (facts.runtime.kind == RuntimeKind::kCrun) options.push_back("--cgroup-manager=disabled");
  if (facts.runtime.kind == RuntimeKind::kRunc) options.push_back("--rootless=true");
  if (facts.runtime.kind == RuntimeKind::kRunsc) options.push_back("--ignore-cgroups");
  create_ = start_ = options;
  const std::string id = "step";  // the state directory is private
  create_.insert(create_.end(), {"create", "--bundle", work, "--pid-file", pid_file_, id});
  start_.insert(start_.end(), {"start", id});
  environment_ = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"};
  create_pointers_ = pointers_of(create_);
  start_pointers_ = pointers_of(start_);
  environment_pointers_ = pointers_of(environment_);
  plan_.program = program_.c_str();
  plan_.create = create_pointers_.data();
  plan_.start = start_pointers_.data();
  plan_.environment = environment_pointers_.data();
  plan_.pid_file = pid_file_.c_str();
  plan_.config_file = config_file_.c_str();
  plan_.null_device = null_device_.c_str();
  plan_.cover_cgroups = facts.runtime.kind == RuntimeKind::kCrun;
}

void PreparedRuntime::prepare_config(const RunSpec& spec, const LaunchPlan& plan,
                                     const RuntimeFacts& facts) {
  head_ = "{\"ociVersion\":\"1.0.2\",\"root\":{\"path\":";
  oci::write_json_string(head_, plan.upper);
  head_ += ",\"readonly\":false},\"mounts\":[";
  // In a user namespace runc would bind the host's devices anew and stop at /dev/tty; a mount
  // of the whole of /dev tells it that this is done.
  if (facts.runtime.kind == RuntimeKind::kRunc && plan.user_namespace) {
    head_ += R"({"destination":"/dev","type":"bind","options":["rbind"],"source":)";
    oci::write_json_string(head_, std::string(plan.upper) + "/dev");
    head_ += "}";
  }
  head_ += "],\"linux\":{";
  if (!plan.insecure && !facts.seccomp.empty()) head_ += "\"seccomp\":" + facts.seccomp + ",";
  head_ += "\"namespaces\":[{\"type\":\"mount\"}";

  process_ = "]},\"process\":{\"terminal\":false,\"args\":[";
  add_strings(process_, spec.argv);
  process_ += "],\"cwd\":";
  oci::write_json_string(process_, plan.cwd);
  process_ += ",\"noNewPrivileges\":";
  process_ += plan.single_id && !plan.insecure ? "true" : "false";
  process_ += ",\"rlimits\":[" + limits_json(plan) + "],\"env\":[";
  // As the plan has it: without what is no variable.
  std::vector<std::string> variables(plan.env, plan.env + plan.env_count);
  // Runtimes look the program up in this one alone.
  if (spec.argv[0].find('/') == std::string::npos &&
      std::none_of(variables.begin(), variables.end(),
                   [](const std::string& text) { return text.starts_with("PATH="); }))
    variables.push_back("PATH=" + std::string(plan.path));
  add_strings(process_, variables);

  const uint64_t held = facts.capabilities;
  const uint64_t given = plan.insecure ? held : held & default_capabilities();
  root_capabilities_ = capability_sets(given, given);
  user_capabilities_ = capability_sets(given, 0);
  plan_.config = {head_, process_, variables.empty(), root_capabilities_, user_capabilities_};
}

Result<std::unique_ptr<PreparedRuntime>> PreparedRuntime::make(const RunSpec& spec,
                                                               PreparedLaunch& launch,
                                                               const RuntimeFacts& facts,
                                                               bool probe) {
  LaunchPlan& plan = launch.plan();
  TRY(check_spec(spec, plan));
  std::unique_ptr<PreparedRuntime> prepared(new PreparedRuntime());
  void* memory = ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return Error::from_errno(errno, "map memory for RUN");
  prepared->shared_ = new (memory) Shared;  // default-initialised: the large array is untouched
  prepared->prepare_arguments(facts, plan.work);
  prepared->prepare_config(spec, plan, facts);
  prepared->plan_.probe = probe;
  plan.identity = &prepared->shared_->identity;
  plan.home = &prepared->shared_->home;
  plan.runtime = &prepared->plan_;
  plan.supervisor = keep_runtime;
  return prepared;
}

PreparedRuntime::~PreparedRuntime() {
  if (shared_ != nullptr) ::munmap(shared_, sizeof(Shared));
}

}  // namespace kasane::exec
