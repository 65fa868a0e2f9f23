// Cached steps outside the store: --cache-from and --cache-to (reference Q08, Q10, Q12).
//
// type=local is an OCI layout directory with one small artifact for each step: its manifest
// has the layer, its config the key with the readable parts. Keys are found through
// index.json (ref.name = key), so an import reads nothing that it does not need.
// type=inline puts the keys of the result's own steps into the image configuration, under
// "kasane.cache.v1"; `--cache-from IMAGE` of the store reads them.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/events.h"
#include "build/graph.h"
#include "store/store.h"

namespace kasane::build {

// Where steps may be taken from. Thread-safe after add().
class CacheImports {
 public:
  CacheImports(store::Store& store, EventBus& events) : store_(store), events_(events) {}
  // "type=local,src=DIR", "type=registry,ref=IMAGE" or a bare image name. A source that is not
  // there is a warning, as for BuildKit: the first build of a branch has none.
  Result<void> add(const std::string& argument);
  // True when the step is in the store now. Damaged sources are warnings and misses.
  bool fetch(const Sha256Digest& key);

 private:
  struct Step {
    std::string directory;
    std::string manifest;  // "sha256:..."
  };
  Result<void> add_directory(const std::string& directory);
  Result<void> add_image(const std::string& name);
  Result<void> import(const Sha256Digest& key, const Step& step);
  store::Store& store_;
  EventBus& events_;
  std::map<Sha256Digest, Step> steps_;
  std::mutex mutex_;  // one import at a time
};

struct CacheExport {
  enum class Kind { kLocal, kInline } kind = Kind::kLocal;
  std::string directory;
  bool all_steps = false;   // mode=max: also of stages that only served others
  bool ignore_error = false;
  bool reset = false;       // steps that this build did not use are dropped
};
// "type=local,dest=DIR[,mode=min|max][,ignore-error=true][,reset=true]", "type=inline".
Result<CacheExport> parse_cache_export(const std::string& argument);

// Adds the steps to the directory; what is there already is not written again.
Result<void> export_steps(store::Store& store, const CacheExport& target, const Graph& graph,
                          const std::map<VertexId, VertexResult>& results, EventBus& events);

// `members` (object text of further members of an image configuration, or "") with the keys
// of the steps that made its layers, by layer number.
std::string with_inline_keys(const std::string& members,
                             const std::vector<std::pair<size_t, Sha256Digest>>& keys);

}  // namespace kasane::build
