// --build-context NAME=VALUE (reference S05-S08): names that stand for a directory, an image,
// a repository or a download wherever the Dockerfile could name a stage or an image. Nothing
// is looked at before a reachable instruction needs it.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/events.h"
#include "base/result.h"
#include "build/base_images.h"
#include "build/source_tree.h"
#include "oci/platform.h"
#include "store/store.h"

namespace kasane::build {

struct NamedContext {
  enum class Kind {
    kLocal,  // a directory with an ignore file of its own
    kImage,  // docker-image://REF (of the store) or oci-layout://DIR[:TAG|@DIGEST]
    kGit,
    kHttp,   // a file called "context"
    kStage,  // target:NAME, a stage of the same Dockerfile
  };
  std::string name;      // lower case, as it was given, perhaps with "::os/arch"
  Kind kind = Kind::kLocal;
  std::string location;  // path, reference, URL or stage
  bool layout = false;   // kImage: an OCI layout directory
};

// Thread-safe once add() was called for all.
class NamedContexts {
 public:
  explicit NamedContexts(EventBus& events) : events_(events) {}
  // "NAME=VALUE". kInvalid for a name that cannot be used or a value of no known kind.
  Result<void> add(std::string_view argument);
  // NAME::os/arch is tried first, then NAME; for an image name also without ":latest" (S05).
  const NamedContext* find(std::string_view name, const oci::Platform& platform) const;
  // Who finds images by name; null: only the store's. Outlives this.
  void use(BaseImages* bases) { bases_ = bases; }
  BaseImages* bases() const { return bases_; }
  // Of kImage: its id in the store; a layout is read into the store first, without a tag.
  Result<Sha256Digest> image(const NamedContext& context, store::Store& store,
                             const oci::Platform& platform);
  // Of kLocal: its files through its own .dockerignore. Opened once.
  Result<std::shared_ptr<SourceTree>> tree(const std::string& name, store::Store& store);

 private:
  EventBus& events_;
  BaseImages* bases_ = nullptr;
  std::map<std::string, NamedContext, std::less<>> contexts_;
  std::mutex mutex_;  // guards the two maps
  std::map<std::string, std::shared_ptr<SourceTree>> trees_;
  std::map<std::string, Sha256Digest> images_;
};

}  // namespace kasane::build
