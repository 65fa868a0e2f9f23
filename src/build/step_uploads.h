// --cache-to type=registry: steps go to the registry as they finish, while the build goes on.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>

#include "base/events.h"
#include "base/thread_pool.h"
#include "build/graph.h"
#include "build/secrets.h"
#include "build/step_cache.h"
#include "registry/pusher.h"
#include "store/store.h"
#include "transfer/layer_blob.h"
#include "transfer/step_artifact.h"

namespace kasane::build {

// One target. Thread-safe. Nothing here makes a build wait before finish().
class StepUploads {
 public:
  // `imports` and `secrets` outlive it. kInvalid for a reference that names no repository.
  static Result<std::unique_ptr<StepUploads>> open(store::Store& store, const registry::Surroundings& around,
                                                   const CacheExport& target, CacheImports& imports,
                                                   const SecretValues& secrets, EventBus& events,
                                                   std::stop_token stop);
  ~StepUploads();

  // Which steps count (mode=min: those of the result's layers).
  void use(const Graph& graph);
  // A step that is done, run or found.
  void add(const Graph& graph, VertexId id, const VertexResult& result);
  // Waits for what is under way. The error of the first upload that failed, unless ignore_error
  // was asked for: then it is a warning.
  Result<void> finish();

  // The blob of a layer that this export has compressed, or is at it; for a push of the same form.
  Result<std::optional<oci::Descriptor>> ready_blob(const Sha256Digest& diff_id, const transfer::LayerForm& form);

 private:
  struct Blob;
  Result<oci::Descriptor> layer_blob(const Sha256Digest& diff_id);
  StepUploads(store::Store& store, const registry::Surroundings& around, const CacheExport& target,
              CacheImports& imports, const SecretValues& secrets, EventBus& events, std::stop_token stop);
  void upload(const transfer::StepRecord& step, const store::LayerPtr& layer, bool renewed);
  Result<bool> push(const transfer::StepRecord& step, const store::LayerPtr& layer);

  store::Store& store_;
  const registry::Surroundings around_;
  const CacheExport target_;
  CacheImports& imports_;
  const SecretValues& secrets_;
  EventBus& events_;
  const std::stop_token stop_;
  transfer::LayerForm form_;
  oci::Reference reference_;
  std::unique_ptr<registry::Pusher> pusher_;

  std::mutex mutex_;  // guards what follows
  std::unique_ptr<Span> span_;
  std::set<VertexId> wanted_;
  std::set<Sha256Digest> seen_, found_;
  std::map<Sha256Digest, std::shared_ptr<Blob>> blobs_;
  size_t sent_ = 0, there_ = 0, missing_ = 0;
  std::optional<Error> error_;
  std::unique_ptr<ThreadPool> pool_;  // the last member: its threads use the others
};

}  // namespace kasane::build
