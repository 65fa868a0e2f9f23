// Executor over the built-in sandbox.
#include "exec/sandbox/launcher.h"
#include "exec/sandbox/probe.h"

namespace kasane::exec {
namespace {

// Immutable after construction, so run() needs no lock.
class SandboxExecutor : public Executor {
 public:
  SandboxExecutor(HostFacts facts, IdMaps maps)
      : facts_(std::move(facts)), maps_(std::move(maps)) {}

  Result<RunOutcome> run(const RunSpec& spec, const LogCallback& log,
                         std::stop_token stop) override {
    if (stop.stop_requested()) return Error(ErrorKind::kCancelled, "the step was stopped");
    auto launch = TRY(PreparedLaunch::make(spec, facts_));
    return launch_step(launch->plan(), maps_, spec, log, std::move(stop));
  }

 private:
  HostFacts facts_;
  IdMaps maps_;
};

}  // namespace

Result<std::unique_ptr<Executor>> make_sandbox_executor(const std::string& store_directory) {
  // Root with the needed capability is not probed by a mount: the step itself is the
  // probe, and its errors carry the same hints.
  SandboxMode mode = SandboxMode::kRoot;
  IdMaps maps;
  if (!is_privileged_root()) {
    SandboxSupport support = probe_sandbox(store_directory);
    if (support.mode == SandboxMode::kNone) {
      Error error(ErrorKind::kUnsupported, "RUN is not possible on this host: " + support.reason);
      std::string hint;
      for (const std::string& item : support.missing) hint += (hint.empty() ? "" : "; ") + item;
      return hint.empty() ? std::move(error) : std::move(error).hint("missing: " + hint);
    }
    mode = support.mode;
    maps = load_id_maps();
  }
  HostFacts facts = TRY(collect_host_facts(mode));
  return std::unique_ptr<Executor>(new SandboxExecutor(std::move(facts), std::move(maps)));
}

}  // namespace kasane::exec
