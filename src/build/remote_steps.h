// Cached steps in a registry, looked up by key when a step asks and not before: a hit costs one
// small document, and the layer's bytes stay in the registry until something needs them.
// --cache-from type=registry (reference Q09, Q12).
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <string>

#include "base/events.h"
#include "base/hash.h"
#include "oci/reference.h"
#include "registry/repository.h"
#include "registry/surroundings.h"
#include "store/store.h"
#include "store/layer.h"
#include "transfer/step_artifact.h"

namespace kasane::build {

struct RemoteHit {
  store::StepRow row;
  store::LayerPtr layer;  // perhaps only described as yet (Layer::is_claimed)
};

// One --cache-from source. Nothing that is wrong with it fails a build: it is a warning, and the
// step is made here. Thread-safe. Outlives the layers that it gave.
class RemoteSteps {
 public:
  RemoteSteps(store::Store& store, const registry::Surroundings& around, oci::Reference reference, EventBus& events,
              std::stop_token stop);
  ~RemoteSteps();

  // `row`: what the store will know of the step once its layer is there.
  std::optional<RemoteHit> find(store::StepRow row);
  // The step's artifact is of no use: it is never found again, and an export replaces it.
  void reject(const Sha256Digest& key, const Error& why);
  // True, once, after a layer that was promised could not be had: whatever relied on it must be
  // made again. Such promises are not believed twice.
  bool take_broken();
  // No further questions.
  void give_up();

  bool is_at(const oci::Reference& repository) const;
  bool gave(const Sha256Digest& key);      // found here in this build, and not rejected
  bool rejected(const Sha256Digest& key);

 private:
  struct Claim;
  struct InlineStep {
    oci::Descriptor layer;
    Sha256Digest diff_id;
  };
  Result<std::optional<RemoteHit>> look_up(const store::StepRow& row);
  Result<std::optional<RemoteHit>> take_inline(store::StepRow row, const InlineStep& step);
  Result<registry::Repository*> repository();
  Result<void> read_inline_keys();
  Result<void> bring(Claim& claim);
  Result<void> bring_layer(const oci::Descriptor& layer, const Sha256Digest& diff_id);
  void warn_once(const Error& error);

  store::Store& store_;
  const registry::Surroundings around_;
  const oci::Reference reference_;
  EventBus& events_;
  const std::stop_token stop_;
  std::mutex open_mutex_;  // guards the next three
  std::unique_ptr<registry::Repository> repository_;
  bool opened_ = false;
  std::map<Sha256Digest, InlineStep> inline_steps_;
  std::mutex mutex_;  // guards what follows
  std::map<Sha256Digest, std::shared_ptr<Claim>> claims_;
  std::set<Sha256Digest> absent_, rejected_, given_;
  bool dead_ = false, broken_ = false;
};

}  // namespace kasane::build
