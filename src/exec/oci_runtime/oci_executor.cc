// Executor over an OCI runtime.
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <optional>

#include "base/fd.h"
#include "exec/oci_runtime/find_runtime.h"
#include "exec/oci_runtime/prepared_runtime.h"
#include "exec/sandbox/host_mode.h"
#include "exec/sandbox/launcher.h"
#include "exec/seccomp/oci_form.h"

namespace kasane::exec {
namespace {

// Immutable after construction, so run() needs no lock.
class OciExecutor : public Executor {
 public:
  OciExecutor(HostFacts host, IdMaps maps, RuntimeFacts runtime)
      : host_(std::move(host)), maps_(std::move(maps)), runtime_(std::move(runtime)) {}

  std::string description() const override { return "OCI runtime " + runtime_.runtime.path; }

  Result<RunOutcome> run(const RunSpec& spec, const LogCallback& log,
                         std::stop_token stop) override {
    return run(spec, log, std::move(stop), false);
  }

  // Whether the runtime gets as far as starting the program, in an empty image.
  Result<void> probe(const std::string& store_directory) {
    std::string folder = store_directory + "/.kasane-probe-XXXXXX";
    if (::mkdtemp(folder.data()) == nullptr)
      return Error::from_errno(errno, "create a probe directory in " + store_directory);
    RunSpec spec;
    spec.argv = {"/proc/self/exe"};
    spec.upper_dir = folder + "/upper";
    spec.work_dir = folder + "/work";
    Result<void> made = make_directories(spec.upper_dir);
    if (made) made = make_directories(spec.work_dir);
    if (made) {
      auto ran = run(spec, [](std::string_view, int) {}, {}, true);
      if (!ran) made = std::move(ran.error());
    }
    (void)remove_tree(folder);
    return made;
  }

 private:
  Result<RunOutcome> run(const RunSpec& spec, const LogCallback& log, std::stop_token stop,
                         bool probe) {
    if (stop.stop_requested()) return Error(ErrorKind::kCancelled, "the step was stopped");
    CopiedTrees none = TRY(CopiedTrees::make(spec, host_.storage, host_.userxattr));
    auto launch = TRY(PreparedLaunch::make(spec, host_, none));
    auto runtime = TRY(PreparedRuntime::make(spec, *launch, runtime_, probe));
    std::optional<std::string> refusal;
    auto outcome =
        launch_step(launch->plan(), maps_, spec, log, std::move(stop), &refusal);
    if (outcome || !refusal) return outcome;
    return explain(*refusal);
  }

  Error explain(const std::string& output) const {
    std::string message = runtime_message(output);
    return Error(ErrorKind::kUnsupported,
                 "the OCI runtime " + runtime_.runtime.path + " refused the step: " +
                     (message.empty() ? "it ended without a message" : message))
        .hint("name another runtime with --runtime, or use the built-in sandbox (--isolation "
              "sandbox)");
  }

  HostFacts host_;
  IdMaps maps_;
  RuntimeFacts runtime_;
};

Error nothing_installed() {
  return Error(ErrorKind::kNotFound, "no OCI runtime is installed: neither crun nor runc was found")
      .hint("install the package crun or runc, name a runtime with --runtime, or use the built-in "
            "sandbox (--isolation sandbox)");
}

}  // namespace

Result<std::unique_ptr<Executor>> make_oci_executor(const std::string& store_directory,
                                                    const std::string& runtime,
                                                    const SeccompChoice& seccomp) {
  HostMode host = TRY(choose_host_mode(store_directory));
  if (host.storage != Storage::kOverlay)
    return Error(ErrorKind::kUnsupported, "--isolation oci needs the kernel's overlayfs, which is refused here")
        .hint("use the built-in sandbox (--isolation sandbox)");
  HostFacts facts = TRY(collect_host_facts(host.mode, host.storage));
  const std::string filter = TRY(oci_seccomp(seccomp));
  auto make = [&](Runtime chosen) {
    RuntimeFacts runtime_facts = collect_runtime_facts(std::move(chosen), host.mode);
    runtime_facts.seccomp = filter;
    return std::make_unique<OciExecutor>(facts, host.maps, std::move(runtime_facts));
  };
  // The step is the probe of a runtime that the user has named.
  if (!runtime.empty()) return std::unique_ptr<Executor>(make(TRY(find_runtime(runtime))));
  std::vector<Runtime> installed = installed_runtimes();
  if (installed.empty()) return nothing_installed();
  std::string why;
  for (const Runtime& candidate : installed) {
    auto executor = make(candidate);
    Result<void> works = executor->probe(store_directory);
    if (works) return std::unique_ptr<Executor>(std::move(executor));
    why += (why.empty() ? "" : "; ") + works.error().full_message();
  }
  return Error(ErrorKind::kUnsupported, "no OCI runtime works on this host: " + why)
      .hint("name another runtime with --runtime, or use the built-in sandbox (--isolation "
            "sandbox)");
}

}  // namespace kasane::exec
