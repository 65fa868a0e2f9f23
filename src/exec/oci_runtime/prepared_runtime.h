// Builder's side: the texts and arguments of one step for an OCI runtime.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "exec/oci_runtime/find_runtime.h"
#include "exec/oci_runtime/runtime_plan.h"
#include "exec/sandbox/launch_plan.h"

namespace kasane::exec {

// What does not change while an executor lives.
struct RuntimeFacts {
  Runtime runtime;
  std::string seccomp;       // of oci_seccomp()
  uint64_t capabilities = 0;  // that this process can give away
};
RuntimeFacts collect_runtime_facts(Runtime runtime, SandboxMode mode);

// Completes a launch: sets supervisor, runtime, identity and home of its plan. Owns what they
// point to. Not copyable, used by one thread.
class PreparedRuntime {
 public:
  // kInvalid when the step cannot be said in JSON, kUnsupported for a terminal. `launch` and
  // `facts` must outlive the result.
  static Result<std::unique_ptr<PreparedRuntime>> make(const RunSpec& spec, PreparedLaunch& launch,
                                                       const RuntimeFacts& facts, bool probe);
  ~PreparedRuntime();

 private:
  // Written by one child and read by another.
  struct Shared;

  PreparedRuntime() = default;
  void prepare_arguments(const RuntimeFacts& facts, const std::string& work);
  void prepare_config(const RunSpec& spec, const LaunchPlan& plan, const RuntimeFacts& facts);

  RuntimePlan plan_;
  Shared* shared_ = nullptr;
  std::string program_, pid_file_, config_file_, null_device_;
  std::string head_, process_, root_capabilities_, user_capabilities_;
  std::vector<std::string> create_, start_, environment_;
  std::vector<char*> create_pointers_, start_pointers_, environment_pointers_;
};

}  // namespace kasane::exec
