// Executor over the built-in sandbox.
#include "exec/sandbox/host_mode.h"
#include "exec/sandbox/launcher.h"

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
  HostMode host = TRY(choose_host_mode(store_directory));
  HostFacts facts = TRY(collect_host_facts(host.mode));
  return std::unique_ptr<Executor>(new SandboxExecutor(std::move(facts), std::move(host.maps)));
}

}  // namespace kasane::exec
