// What a name in FROM, COPY --from and docker-image:// means: an image of the store, pulled
// first when it is missing, when it is of another platform, or when --pull asks for it.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>

#include "base/events.h"
#include "base/result.h"
#include "oci/platform.h"
#include "registry/surroundings.h"
#include "store/store.h"

namespace kasane::build {

// FROM NAME without any registry: the image of the store that has this platform, if one of that
// name does. kNotFound.
Result<Sha256Digest> find_base_image(store::Store& store, const std::string& name,
                                     const oci::Platform& platform);

// Thread-safe; a name is looked up and pulled once.
class BaseImages {
 public:
  // `around`: none = registries are never asked.
  BaseImages(store::Store& store, std::optional<registry::Surroundings> around, bool always_pull,
             EventBus& events, std::stop_token stop)
      : store_(store),
        around_(std::move(around)),
        always_pull_(always_pull),
        events_(events),
        stop_(std::move(stop)) {}

  Result<Sha256Digest> find(const std::string& name, const oci::Platform& platform);

 private:
  Result<Sha256Digest> look_up(const std::string& name, const oci::Platform& platform);
  Result<bool> serves(const Sha256Digest& image, const oci::Platform& platform);
  Result<Sha256Digest> pull(const std::string& name, const oci::Platform& platform);

  store::Store& store_;
  std::optional<registry::Surroundings> around_;
  bool always_pull_;
  EventBus& events_;
  std::stop_token stop_;
  std::mutex mutex_;
  std::map<std::string, Sha256Digest> found_;  // by "name|platform"
};

}  // namespace kasane::build
