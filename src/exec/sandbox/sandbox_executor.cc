// Executor over the built-in sandbox.
#include "exec/sandbox/host_mode.h"
#include "exec/sandbox/id_trouble.h"
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
    CopiedTrees copies = TRY(CopiedTrees::make(spec, facts_.storage, facts_.userxattr));
    auto launch = TRY(PreparedLaunch::make(spec, facts_, copies));
    IdTrouble trouble;
    const LogCallback watched = [&](std::string_view bytes, int stream) {
      trouble.see(bytes);
      log(bytes, stream);
    };
    RunOutcome outcome =
        TRY(launch_step(launch->plan(), maps_, spec,
                        maps_.single ? watched : log, std::move(stop)));
    trouble.finish();
    if (outcome.exit_status != 0 && !trouble.line().empty()) outcome.advice = advice(trouble.line());
    TRY_CONTEXT(copies.finish(spec), "collect what RUN changed");
    return outcome;
  }

 private:
  std::string advice(const std::string& line) const {
    return "only one user id can be used here, and the step wanted another one (\"" + line +
           "\"); missing for more: " + maps_.remedy + "; or build as root";
  }

  HostFacts facts_;
  IdMaps maps_;
};

}  // namespace

Result<std::unique_ptr<Executor>> make_sandbox_executor(const std::string& store_directory,
                                                        const SeccompChoice& seccomp) {
  HostMode host = TRY(choose_host_mode(store_directory));
  HostFacts facts = TRY(collect_host_facts(host.mode, host.storage));
  facts.filters = TRY(seccomp_filters(store_directory, seccomp));
  return std::unique_ptr<Executor>(new SandboxExecutor(std::move(facts), std::move(host.maps)));
}

}  // namespace kasane::exec
