// Cached steps outside the store: --cache-from and --cache-to (reference Q08, Q10, Q12).
//
// type=local is an OCI layout directory with one small artifact for each step: its manifest
// has the layer, its config the key with the readable parts. Keys are found through
// index.json (ref.name = key), so an import reads nothing that it does not need.
// type=registry is the same by one artifact per key in a repository: remote_steps.h looks up,
// step_uploads.h sends.
// type=inline puts the keys of the result's own steps into the image configuration, under
// "kasane.cache.v1"; `--cache-from IMAGE` reads them, from the store or a registry.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "base/compress.h"
#include "base/events.h"
#include "build/graph.h"
#include "oci/reference.h"
#include "registry/surroundings.h"
#include "store/store.h"

namespace kasane::build {

class RemoteSteps;
struct RemoteHit;

// Where steps may be taken from. Thread-safe after add(). Outlives the layers that it gave.
class CacheImports {
 public:
  // Without `registries`, no registry is asked.
  CacheImports(store::Store& store, const std::optional<registry::Surroundings>& registries, EventBus& events,
               std::stop_token stop);
  ~CacheImports();
  // "type=local,src=DIR", "type=registry,ref=IMAGE" or a bare image name. A source that is not
  // there is a warning, as for BuildKit: the first build of a branch has none.
  Result<void> add(const std::string& argument);
  // True when the step is in the store now. Damaged sources are warnings and misses.
  bool fetch(const Sha256Digest& key);
  // From the registries; the layer may still be there (Layer::is_claimed). `row` is kept in the
  // store when the layer comes.
  std::optional<RemoteHit> find_remote(const store::StepRow& row);
  bool has_remotes() const { return !remotes_.empty(); }
  void reject(const Sha256Digest& key, const Error& why);
  // See RemoteSteps::take_broken(). After some rounds the registries are not asked any more.
  bool take_broken();
  // Of an export to the same repository: the step was found there; what was found is of no use.
  bool is_at(const oci::Reference& repository, const Sha256Digest& key);
  bool rejected_at(const oci::Reference& repository, const Sha256Digest& key);

 private:
  struct Step {
    std::string directory;
    std::string manifest;  // "sha256:..."
  };
  Result<void> add_directory(const std::string& directory);
  Result<bool> add_image(const std::string& name);
  Result<void> add_registry(const std::string& name);
  Result<void> import(const Sha256Digest& key, const Step& step);
  store::Store& store_;
  EventBus& events_;
  const std::optional<registry::Surroundings>& registries_;
  const std::stop_token stop_;
  std::map<Sha256Digest, Step> steps_;
  std::vector<std::unique_ptr<RemoteSteps>> remotes_;
  int rounds_ = 0;    // of take_broken()
  std::mutex mutex_;  // one import at a time
};

struct CacheExport {
  enum class Kind { kLocal, kInline, kRegistry } kind = Kind::kLocal;
  std::string directory;
  std::string reference;    // its tag has no meaning
  Compression compression = Compression::kGzip;  // of layers that have no compressed form yet
  std::optional<int> level;
  bool all_steps = false;   // mode=max: also of stages that only served others
  bool ignore_error = false;
  bool reset = false;       // steps that this build did not use are dropped
};
// "type=local,dest=DIR[,mode=min|max][,ignore-error=true][,reset=true]", "type=inline",
// "type=registry,ref=REF[,mode=min|max][,compression=K][,compression-level=N][,ignore-error=true]",
// or a bare REF.
Result<CacheExport> parse_cache_export(const std::string& argument);

// Adds the steps to the directory; what is there already is not written again.
Result<void> export_steps(store::Store& store, const CacheExport& target, const Graph& graph,
                          const std::map<VertexId, VertexResult>& results, EventBus& events);

// The steps that made the layers of the targets.
std::set<VertexId> steps_of_targets(const Graph& graph);

// (layer number, key) pairs of an image configuration that with_inline_keys() wrote; anything
// else is none.
std::vector<std::pair<size_t, Sha256Digest>> inline_keys(const std::string& config_json);

// `members` (object text of further members of an image configuration, or "") with the keys
// of the steps that made its layers, by layer number.
std::string with_inline_keys(const std::string& members,
                             const std::vector<std::pair<size_t, Sha256Digest>>& keys);

}  // namespace kasane::build
