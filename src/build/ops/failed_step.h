// The file system and settings of a RUN that failed, kept for `kasane debug`.
#pragma once

#include "build/ops/step.h"

namespace kasane::build {

// Moves the step's changes into the build record and describes the step beside them. Values
// of secrets are left out. What cannot be kept is not: the step's own failure matters more.
void keep_failed_step(BuildEnvironment& env, const StepInput& input, const RunOp& op,
                      const exec::RunSpec& spec);

// What is kept, ready to run again on top of what the step had done.
struct FailedStep {
  std::string name;
  exec::RunSpec spec;                 // argv as it was; work_dir is new and empty
  std::vector<std::string> missing;   // mounts that are not there: secrets and agents
};
// Of the build record `build_id`. kNotFound: nothing is kept; kCorrupt; kNotFound naming the
// layer when the cache below it was pruned.
Result<FailedStep> open_failed_step(store::Store& store, const std::string& build_id);

}  // namespace kasane::build
