// New layers made from layers that are in the store (reference T07, L24). The originals stay.
#pragma once

#include <vector>

#include "store/layer.h"

namespace kasane::store {

// The layer with no mtime later than `epoch` (seconds); times before it are kept. Returns
// `layer` itself when nothing is later.
Result<LayerPtr> clamp_layer_times(Store& store, const LayerPtr& layer, int64_t epoch);

// One layer that does to `below` what `layers` (both lowest first) do one after the other:
// what they add and remove among themselves is gone, hard links between what is left are
// kept, whiteouts and opaque directories are there exactly where `below` has something to
// hide. Same input → same bytes.
Result<LayerPtr> merge_layers(Store& store, const std::vector<LayerPtr>& below,
                              const std::vector<LayerPtr>& layers);

}  // namespace kasane::store
