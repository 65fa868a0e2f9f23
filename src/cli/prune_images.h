// What `image prune` and `system prune` have in common (reference 1.8).
#pragma once

#include <functional>

#include <string>
#include <vector>

#include "base/result.h"
#include "cli/context.h"

namespace kasane::cli {

struct PruneSelection {
  bool all = false;                  // not only images without a tag
  std::vector<std::string> filters;  // with those of config.json
};

struct Pruned {
  std::string lines;  // "untagged: app:1\ndeleted: sha256:...\n"
  uint64_t freed_bytes = 0;
};

// The filters are judged first, so that nobody is asked about nonsense. `approved` is then asked
// once; false ends it with nothing removed.
Result<Pruned> prune_images(Context& context, const PruneSelection& selection,
                            const std::function<bool()>& approved);

// "Deleted Images:\n...\n" when there were any.
std::string deleted_images_text(const Pruned& pruned);

}  // namespace kasane::cli
