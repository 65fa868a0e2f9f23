// The last pass of a build: from the results of the steps to images in the store and to the
// outputs that were asked for (reference 1.16, 1.18, 1.19).
#pragma once

#include <map>
#include <optional>
#include <stop_token>

#include "build/build.h"
#include "build/graph.h"
#include "build/step_uploads.h"

namespace kasane::build {

struct Delivery {
  store::Store& store;
  const BuildOptions& options;
  const Graph& graph;
  const std::map<VertexId, VertexResult>& results;
  std::optional<int64_t> epoch;    // SOURCE_DATE_EPOCH, seconds
  std::vector<std::string> tags;   // canonical
  bool multi_platform = false;     // an index even for one platform
  int64_t started_ns = 0;
  bool inline_cache = false;       // keys of the steps go into the configuration
  std::vector<std::unique_ptr<StepUploads>>* uploads = nullptr;  // what they compressed is used
};

// Nothing is delivered when a layer or the configuration holds the value of a secret. Fills
// images, image and digest of `result`; writes the metadata and iid files last.
Result<void> deliver(const Delivery& delivery, EventBus& events, std::stop_token stop,
                     BuildResult& result);

}  // namespace kasane::build
