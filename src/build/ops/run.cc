// RUN: the step's command in the sandbox; its upper directory becomes the layer's tree.
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>

#include "build/ops/step.h"

namespace kasane::build {
namespace {

// Q01. Not in the key: proxies, ids and owners of cache mounts, limits.
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
  key.add("network", op.network == exec::Network::kNone ? "none" : "host");
  key.add("platform", env.architecture);
  for (const RunMount& mount : op.mounts)
    key.add("mount " + mount.target, mount.type == RunMount::Type::kCache ? "cache" : "tmpfs");
  if (env.epoch) key.add("SOURCE_DATE_EPOCH", std::to_string(*env.epoch));
  return key;
}

// A cache mount's directory below mounts/, named by the hash of its id: ids are hostile
// text (reference B4). The lock makes sharing=locked wait for other builds.
struct CacheMount {
  std::string path;
  UniqueFd lock;
};

Result<CacheMount> open_cache_mount(store::Store& store, const RunMount& mount) {
  CacheMount cache;
  std::string base = store.path("mounts/" + sha256(mount.cache_id).hex());
  TRY(make_directories(store.path("mounts"), 0700));
  if (mount.exclusive) {
    cache.lock = TRY(open_file(base + ".lock", O_RDWR | O_CREAT, 0600));
    if (::flock(cache.lock.get(), LOCK_EX) != 0) return Error::from_errno(errno, "lock cache mount");
  }
  cache.path = base;
  if (::mkdir(base.c_str(), mount.mode) == 0) {
    // mkdir obeys the umask; owners other than ours need root.
    ::chmod(base.c_str(), mount.mode);
    if ((mount.uid != 0 || mount.gid != 0) && ::chown(base.c_str(), mount.uid, mount.gid) != 0 &&
        errno != EPERM)
      return Error::from_errno(errno, "set owner of cache mount " + mount.target);
  } else if (errno != EEXIST) {
    return Error::from_errno(errno, "create cache mount " + mount.target);
  }
  return cache;
}

Result<void> add_mounts(BuildEnvironment& env, const RunOp& op, const std::string& scratch,
                        exec::RunSpec& spec, std::vector<CacheMount>& caches) {
  for (const RunMount& mount : op.mounts) {
    exec::Mount target;
    target.target = mount.target;
    target.read_only = mount.read_only;
    target.size_bytes = mount.size_bytes;
    target.type = exec::Mount::Type::kTmpfs;
    if (mount.type == RunMount::Type::kCache) {
      caches.push_back(TRY(open_cache_mount(env.store, mount)));
      target.type = exec::Mount::Type::kBind;
      target.source = caches.back().path;
    }
    spec.mounts.push_back(std::move(target));
  }
  if (!op.script) return {};
  UniqueFd file = TRY(open_file(scratch + "/script", O_WRONLY | O_CREAT | O_EXCL, 0755));
  TRY(write_all(file.get(), *op.script, "script of the step"));
  if (::fchmod(file.get(), 0755) != 0) return Error::from_errno(errno, "chmod script of the step");
  spec.mounts.push_back({exec::Mount::Type::kBind, scratch + "/script", op.argv.front(), true, 0});
  return {};
}

Error step_failed(const StepInput& input, const RunOp& op, const exec::RunOutcome& outcome) {
  std::string command;
  for (const std::string& arg : op.argv) command += (command.empty() ? "" : " ") + arg;
  std::string how = outcome.signal ? fmt::format("signal: {}", *outcome.signal)
                                   : fmt::format("exit code: {}", outcome.exit_status);
  return Error(ErrorKind::kStepFailed,
               fmt::format("process \"{}\" did not complete successfully: {}", command, how))
      .at(input.vertex.span);
}

Result<store::LayerPtr> execute(BuildEnvironment& env, const StepInput& input, const RunOp& op) {
  exec::Executor* executor = TRY(env.executor());
  exec::RunSpec spec;
  for (const store::LayerPtr& layer : input.below) {
    if (layer->index().size() == 0) continue;  // nothing to show, and overlayfs has a limit
    spec.lower_trees.push_back(TRY(layer->ensure_tree(env.store)));
  }
  store::Store::Ingest ingest = TRY(env.store.new_ingest());
  spec.upper_dir = ingest.path() + "/upper";
  spec.work_dir = ingest.path() + "/work";
  for (const std::string& dir : {spec.upper_dir, spec.work_dir})
    if (::mkdir(dir.c_str(), 0755) != 0 || ::chmod(dir.c_str(), 0755) != 0)
      return Error::from_errno(errno, "create " + dir);
  spec.argv = op.argv;
  spec.env = op.env;
  spec.env.insert(spec.env.end(), op.proxy_env.begin(), op.proxy_env.end());
  spec.cwd = op.cwd;
  spec.user = op.user;
  spec.network = op.network;
  std::vector<CacheMount> caches;
  TRY(add_mounts(env, op, ingest.path(), spec, caches));
  exec::RunOutcome outcome = TRY(executor->run(
      spec, [&](std::string_view bytes, int stream) { input.span.log(bytes, stream); }, input.stop));
  if (outcome.exit_status != 0) return step_failed(input, op, outcome);
  store::AdoptOptions adopt;
  adopt.epoch = env.epoch;
  adopt.below = input.below;
  return store::adopt_tree(env.store, spec.upper_dir, adopt);
}

}  // namespace

Result<VertexResult> run_run(BuildEnvironment& env, const StepInput& input, const RunOp& op) {
  auto start = std::chrono::steady_clock::now();
  StepKey key = key_of(env, input, op);
  StepLock lock(env, key);
  std::optional<VertexResult> cached = TRY(find_cached(env, input, key.digest()));
  if (cached) return std::move(*cached);
  VertexResult explained = explain_miss(env, input, key, nullptr);
  store::LayerPtr layer = TRY(execute(env, input, op));
  uint64_t duration = static_cast<uint64_t>((std::chrono::steady_clock::now() - start).count());
  return finish_step(env, input, key, std::move(layer), duration, std::move(explained));
}

}  // namespace kasane::build
