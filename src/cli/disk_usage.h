// What `system df` counts (reference 1.15).
#pragma once

#include <optional>
#include <vector>

#include "base/result.h"
#include "store/store.h"

namespace kasane::cli {

struct ImageUsage {
  store::ImageRow image;
  std::optional<int64_t> created;  // seconds
  uint64_t shared_bytes = 0;       // of layers that another image has on the same layers
};

struct DiskUsage {
  std::vector<ImageUsage> images;  // newest first
  uint64_t layer_bytes = 0;        // every layer of an image once
  std::vector<store::StepInfo> steps;
  uint64_t step_bytes = 0;         // layers that only cached steps use, each once
};

Result<DiskUsage> disk_usage(store::Store& store);

}  // namespace kasane::cli
