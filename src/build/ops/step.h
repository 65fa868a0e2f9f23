// What every operation gets when it runs, and the operations themselves. Internal to build/.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <stop_token>
#include <string>

#include "base/events.h"
#include "build/build.h"
#include "build/graph.h"
#include "build/keys.h"
#include "build/named_context.h"
#include "build/secrets.h"
#include "build/ssh_agent.h"
#include "build/step_cache.h"
#include "build/step_uploads.h"
#include "exec/executor.h"
#include "net/source_cache.h"
#include "store/build_records.h"
#include "store/store.h"

namespace kasane::build {

// Shared by all steps of one build; thread-safe.
class BuildEnvironment {
 public:
  store::Store& store;
  SourceTree& context;
  NamedContexts& contexts;
  const SecretValues& secrets;
  const SshAgents& ssh;
  store::BuildRecordWriter& records;
  CacheImports& imports;
  net::SourceCache downloads;
  std::optional<int64_t> epoch;  // SOURCE_DATE_EPOCH, seconds
  int64_t now_ns = 0;            // start of the build
  RunSettings run;
  std::vector<std::unique_ptr<StepUploads>>* uploads = nullptr;  // get every step that is done
  EventBus* events = nullptr;
  int64_t cache_ttl_ns = 0;      // 0: cached steps of any age
  int retries = 0;               // of downloads

  BuildEnvironment(store::Store& s, SourceTree& c, NamedContexts& named, const SecretValues& values,
                   const SshAgents& agents, store::BuildRecordWriter& record_writer,
                   CacheImports& cache_imports)
      : store(s),
        context(c),
        contexts(named),
        secrets(values),
        ssh(agents),
        records(record_writer),
        imports(cache_imports),
        downloads(s.path("sources")) {}
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
  VertexId id;
  std::vector<store::LayerPtr> below;              // of the parent, lowest first
  std::map<VertexId, const VertexResult*> sources;  // of every dependency
  std::stop_token stop, kill;  // see exec::Executor::run
  // The progress span, opened by the scheduler before the step runs.
  Span& span;
};

// The trees that an operation takes files from, opened for as long as this lives.
class OpenedTrees {
 public:
  static OpenedTrees open(BuildEnvironment& env, const StepInput& input,
                          std::span<const SourceRef> sources);
  std::span<SourceTree* const> all() const { return trees_; }
  SourceTree& operator[](size_t i) const { return *trees_[i]; }

 private:
  std::vector<SourceTree*> trees_;
  std::vector<std::unique_ptr<SourceTree>> owned_;
};
// The layers of a stage or image, else null.
const std::vector<store::LayerPtr>* layers_of(const StepInput& input, const SourceRef& source);

Result<VertexResult> run_base(BuildEnvironment& env, const StepInput& input, const BaseOp& op);
Result<VertexResult> run_copy(BuildEnvironment& env, const StepInput& input, const CopyOp& op);
Result<VertexResult> run_workdir(BuildEnvironment& env, const StepInput& input, const WorkdirOp& op);
Result<VertexResult> run_run(BuildEnvironment& env, const StepInput& input, const RunOp& op);
Result<VertexResult> run_local(BuildEnvironment& env, const StepInput& input, const LocalOp& op);
Result<VertexResult> run_http(BuildEnvironment& env, const StepInput& input, const HttpOp& op);
Result<VertexResult> run_git(BuildEnvironment& env, const StepInput& input, const GitOp& op);

// ---- shared by the operations

// The cached result for this key, or nullopt. The caller holds a StepLock of the key. A layer that
// comes from elsewhere must be what `plan` would write, where there is one.
Result<std::optional<VertexResult>> find_cached(BuildEnvironment& env, const StepInput& input,
                                                const StepKey& key, const LayerPlan* plan = nullptr);
// The same where a shortcut led to the key and its parts are not known.
Result<std::optional<VertexResult>> find_cached(BuildEnvironment& env, const StepInput& input,
                                                const Sha256Digest& key);
// Before a step runs: the layers that it takes files from are in the store, and true.
Result<void> bring_sources(const StepInput& input, std::span<const SourceRef> sources);
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
