// RUN: the step's command in the sandbox; its upper directory becomes the layer's tree.
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>

#include "build/ops/failed_step.h"
#include "build/ops/run_mounts.h"
#include "build/ops/step.h"
#include "store/remote_layer.h"

namespace kasane::build {
namespace {

// Who connects a private network makes no difference to what the step can reach.
std::string key_word(exec::Network network) {
  if (network == exec::Network::kHost || network == exec::Network::kNone)
    return std::string(exec::network_name(network));
  return "private";
}

// Q01. Not in the key: proxies, addresses of extra hosts, limits.
StepKey key_of(const BuildEnvironment& env, const StepInput& input, const RunOp& op) {
  StepKey key;
  key.add("kind", "RUN");
  key.add("parent", store::chain_content_id(input.below).hex());
  for (const std::string& entry : op.env) {
    size_t equals = entry.find('=');
    key.add("env " + entry.substr(0, equals), entry.substr(equals + 1));
  }
  std::string command;
  for (const std::string& arg : op.argv) command += arg + '\0';
  if (op.script) command += *op.script;
  // The readable form is for people; the exact bytes are in the digest that follows it.
  std::string shown;
  for (const std::string& arg : op.argv) shown += (shown.empty() ? "" : " ") + arg;
  key.add("command", shown);
  key.add("command bytes", sha256(command).hex());
  key.add("user", op.user);
  key.add("workdir", op.cwd);
  key.add("network", key_word(op.network));
  key.add("platform", op.platform.str());
  if (op.security == exec::Security::kInsecure) key.add("security", "insecure");
  if (!env.run.hostname.empty()) key.add("hostname", env.run.hostname);
  for (const RunSettings::ExtraHost& host : env.run.extra_hosts) key.add("extra host", host.name);
  for (const exec::Ulimit& limit : env.run.ulimits)
    key.add("ulimit " + limit.name, fmt::format("{}:{}", limit.soft, limit.hard));
  if (env.run.shm_size_bytes) key.add("shm size", std::to_string(env.run.shm_size_bytes));
  if (env.epoch) key.add("SOURCE_DATE_EPOCH", std::to_string(*env.epoch));
  return key;
}

Result<exec::Mount> script_mount(const RunOp& op, const std::string& scratch) {
  UniqueFd file = TRY(open_file(scratch + "/script", O_WRONLY | O_CREAT | O_EXCL, 0755));
  TRY(write_all(file.get(), *op.script, "script of the step"));
  if (::fchmod(file.get(), 0755) != 0) return Error::from_errno(errno, "chmod script of the step");
  exec::Mount mount;
  mount.source = scratch + "/script";
  mount.target = op.argv.front();
  return mount;
}

Error step_failed(const BuildEnvironment& env, const StepInput& input, const RunOp& op, const exec::RunOutcome& outcome) {
  if (outcome.timed_out)
    return Error(ErrorKind::kStepFailed,
                 fmt::format("{} took longer than {} and was ended", input.vertex.name,
                             env.run.time_limit_text))
        .at(input.vertex.span);
  std::string command;
  for (const std::string& arg : op.argv) command += (command.empty() ? "" : " ") + arg;
  if (outcome.out_of_memory)
    return Error(ErrorKind::kStepFailed,
                 fmt::format("process \"{}\" was killed for using more memory than it may", command))
        .at(input.vertex.span);
  std::string how = outcome.signal ? fmt::format("signal: {}", *outcome.signal)
                                   : fmt::format("exit code: {}", outcome.exit_status);
  return Error(ErrorKind::kStepFailed,
               fmt::format("process \"{}\" did not complete successfully: {}", command, how))
      .at(input.vertex.span);
}

// What to do about a limit, or a lack of user ids, that ended the step; "" when none did.
std::string advice(const exec::RunOutcome& outcome) {
  if (outcome.timed_out) return "raise --run-timeout; ";
  if (outcome.out_of_memory) return "raise --memory, or let the step use fewer parallel jobs; ";
  if (outcome.out_of_pids) return "a process could not be made because of the pids limit: raise --pids-limit; ";
  return outcome.advice.empty() ? "" : outcome.advice + "; ";
}

Result<exec::RunSpec> make_spec(BuildEnvironment& env, const StepInput& input, const RunOp& op,
                                const std::string& scratch) {
  exec::RunSpec spec;
  for (const store::LayerPtr& layer : input.below) {
    if (layer->index().size() == 0) continue;  // nothing to show, and overlayfs has a limit
    spec.lower_trees.push_back(TRY(layer->ensure_tree(env.store)));
  }
  spec.upper_dir = scratch + "/upper";
  spec.work_dir = scratch + "/work";
  for (const std::string& dir : {spec.upper_dir, spec.work_dir})
    if (::mkdir(dir.c_str(), 0755) != 0 || ::chmod(dir.c_str(), 0755) != 0)
      return Error::from_errno(errno, "create " + dir);
  spec.argv = op.argv;
  spec.env = op.env;
  spec.env.insert(spec.env.end(), op.proxy_env.begin(), op.proxy_env.end());
  spec.cwd = op.cwd;
  spec.user = op.user;
  spec.network = op.network;
  spec.security = op.security;
  if (!env.run.hostname.empty()) spec.hostname = env.run.hostname;
  for (const RunSettings::ExtraHost& host : env.run.extra_hosts)
    spec.extra_hosts.push_back(host.address + "\t" + host.name);
  spec.ulimits = env.run.ulimits;
  spec.shm_size_bytes = env.run.shm_size_bytes;
  spec.memory_limit_bytes = env.run.memory_limit_bytes;
  spec.pids_limit = env.run.pids_limit.value_or(exec::kDefaultPidsLimit);
  spec.pids_limit_asked = env.run.pids_limit.has_value();
  spec.time_limit_ns = env.run.time_limit_ns;
  spec.kill = input.kill;
  return spec;
}

// The output of a step: to progress, and whole to a file that outlives the build.
class StepLog {
 public:
  StepLog(BuildEnvironment& env, const StepInput& input) : env_(env), input_(input) {}
  void write(std::string_view bytes, int stream) {
    input_.span.log(bytes, stream);
    if (!opened_) {
      opened_ = true;
      if (Result<UniqueFd> file = env_.records.open_log(number())) file_ = std::move(*file);
    }
    if (file_) (void)write_all(file_.get(), bytes, "log of the step");  // a full disk fails elsewhere
  }
  std::string hint() const {
    std::string text = "`kasane debug` opens a shell where the step stopped";
    return file_ ? "the whole output is in " + env_.records.log_path(number()) + "; " + text : text;
  }

 private:
  size_t number() const { return static_cast<size_t>(input_.id); }
  BuildEnvironment& env_;
  const StepInput& input_;
  bool opened_ = false;
  UniqueFd file_;
};

struct Executed {
  store::LayerPtr layer;
  exec::RunOutcome outcome;
};

Result<Executed> execute(BuildEnvironment& env, const StepInput& input, const RunOp& op,
                         const std::vector<MountContent>& contents) {
  if (std::optional<std::string> why = exec::why_cannot_execute(op.platform))
    return Error(ErrorKind::kUnsupported, "cannot run programs for " + op.platform.str() + " here: " + *why);
  exec::Executor* executor = TRY(env.executor());
  store::Store::Ingest ingest = TRY(env.store.new_ingest());
  exec::RunSpec spec = TRY(make_spec(env, input, op, ingest.path()));
  std::unique_ptr<StepMounts> mounts =
      TRY(StepMounts::prepare(env, input, op, ingest.path(), contents));
  spec.mounts = mounts->mounts();
  spec.env.insert(spec.env.end(), mounts->env().begin(), mounts->env().end());
  if (op.script) spec.mounts.push_back(TRY(script_mount(op, ingest.path())));
  StepLog log(env, input);
  Redactor redactor(env.secrets, [&](std::string_view bytes, int stream) { log.write(bytes, stream); });
  Executed done;
  done.outcome = TRY(executor->run(
      spec, [&](std::string_view bytes, int stream) { redactor.write(bytes, stream); }, input.stop));
  redactor.flush();
  if (done.outcome.exit_status != 0 || done.outcome.timed_out) {
    Error failure = step_failed(env, input, op, done.outcome);
    if (mounts->has_secrets() && may_hold_secrets(env.secrets, spec.upper_dir)) return failure;
    keep_failed_step(env, input, op, spec);
    return std::move(failure).hint(advice(done.outcome) + log.hint());
  }
  store::AdoptOptions adopt;
  adopt.epoch = env.epoch;
  adopt.below = input.below;
  done.layer = TRY(store::adopt_tree(env.store, spec.upper_dir, adopt));
  // Before it becomes a cached step: an unreachable layer is swept, a step would stay.
  if (mounts->has_secrets()) TRY(refuse_leaks(env.secrets, {done.layer}));
  return done;
}

}  // namespace

Result<VertexResult> run_run(BuildEnvironment& env, const StepInput& input, const RunOp& op) {
  auto start = std::chrono::steady_clock::now();
  StepKey key = key_of(env, input, op);
  std::vector<MountContent> contents = TRY(add_mounts_to_key(env, input, op, key));
  StepLock lock(env, key);
  std::optional<VertexResult> cached = TRY(find_cached(env, input, key));
  if (cached) return std::move(*cached);
  TRY(store::bring_layers(input.below));
  for (const RunMount& mount : op.mounts) TRY(bring_sources(input, {&mount.from, 1}));
  TRY(note_mounted_files(env, input, op, key));
  VertexResult explained = explain_miss(env, input, key, nullptr);
  Executed done = TRY(execute(env, input, op, contents));
  uint64_t duration = static_cast<uint64_t>((std::chrono::steady_clock::now() - start).count());
  VertexResult result =
      TRY(finish_step(env, input, key, std::move(done.layer), duration, std::move(explained)));
  result.usage = done.outcome;
  for (const MountContent& content : contents)
    if (content.shortcut) TRY(keep_shortcut(env, *content.shortcut, *content.digest, result.own->diff_id()));
  return result;
}

}  // namespace kasane::build
