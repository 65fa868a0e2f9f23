// What every operation gets when it runs, and the operations themselves. Internal to build/.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <stop_token>
#include <string>

#include "base/events.h"
#include "build/context.h"
#include "build/graph.h"
#include "build/keys.h"
#include "exec/executor.h"
#include "store/store.h"

namespace kasane::build {

// Shared by all steps of one build; thread-safe.
class BuildEnvironment {
 public:
  store::Store& store;
  ContextTree& context;
  std::optional<int64_t> epoch;  // SOURCE_DATE_EPOCH, seconds
  int64_t now_ns = 0;            // start of the build
  bool no_cache = false;
  std::string architecture;

  BuildEnvironment(store::Store& s, ContextTree& c) : store(s), context(c) {}
  // Made on first need: a build without a RUN that misses never asks for a sandbox.
  Result<exec::Executor*> executor();

 private:
  friend class StepLock;
  std::mutex mutex_;
  std::unique_ptr<exec::Executor> executor_;
  std::mutex keys_mutex_;  // guards the two sets
  std::condition_variable key_released_;
  std::set<Sha256Digest> keys_in_work_;
  std::set<Sha256Digest> keys_made_;
};

// Held while a step of one key is looked up and made. A second step of the same build with
// the same key (WORKDIR /app in two stages) waits and takes the first one's result, also
// with --no-cache. Would both run, the later would replace the cache row of the earlier, and
// the next build, all hits, would give another image.
class StepLock {
 public:
  StepLock(BuildEnvironment& env, const StepKey& key);
  ~StepLock();
  StepLock(const StepLock&) = delete;
  StepLock& operator=(const StepLock&) = delete;

  static bool made_in_this_build(BuildEnvironment& env, const Sha256Digest& key);
  static void set_made(BuildEnvironment& env, const Sha256Digest& key);

 private:
  BuildEnvironment& env_;
  const Sha256Digest key_;
};

// Inputs of one step when it becomes ready.
struct StepInput {
  const Vertex& vertex;
  std::vector<store::LayerPtr> below;              // of the parent, lowest first
  const std::vector<store::LayerPtr>* from = nullptr;  // of CopyOp::from
  std::stop_token stop;
  // The progress span, opened by the scheduler before the step runs.
  Span& span;
};

Result<VertexResult> run_base(BuildEnvironment& env, const StepInput& input, const BaseOp& op);
Result<VertexResult> run_copy(BuildEnvironment& env, const StepInput& input, const CopyOp& op);
Result<VertexResult> run_workdir(BuildEnvironment& env, const StepInput& input, const WorkdirOp& op);
Result<VertexResult> run_run(BuildEnvironment& env, const StepInput& input, const RunOp& op);

// ---- shared by the operations

// The cached result for this key, or nullopt. The caller holds a StepLock of the key.
Result<std::optional<VertexResult>> find_cached(BuildEnvironment& env, const StepInput& input,
                                                const Sha256Digest& key);
// Remembers a new layer under its key and makes the result. When another process was faster,
// its result is taken, so that both builds give the image of the next one. `reason` comes from explain_miss().
Result<VertexResult> finish_step(BuildEnvironment& env, const StepInput& input, const StepKey& key,
                                 store::LayerPtr layer, uint64_t duration_ns, VertexResult explained);
// Why there was no hit: compares with the nearest earlier run of the same step. With `plan`,
// names the files that differ from the layer which that run made.
VertexResult explain_miss(BuildEnvironment& env, const StepInput& input, const StepKey& key,
                          const LayerPlan* plan);
// Writes a planned layer and commits it.
Result<store::LayerPtr> make_layer(BuildEnvironment& env, const StepInput& input, LayerPlan& plan);

}  // namespace kasane::build
