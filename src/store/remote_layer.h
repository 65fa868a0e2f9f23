// Layers that somebody else describes: an index that came without its layer, so that questions
// about the layer are answered before its bytes are needed. The description is a claim: it is
// checked entry by entry when the layer comes.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "store/layer.h"

namespace kasane::store {

inline constexpr uint64_t kMaxClaimedIndexBytes = 512ull << 20;

// The bytes of a layer's index file, as claimed_index() takes them. kLimit above the constant.
Result<std::string> index_bytes(const Layer& layer);

// An index of untrusted bytes: made again from its entries, each of which is checked as the
// members of an archive are, so that what comes out has the form of an index that this store
// wrote. kCorrupt; kUnsupported for another format version.
Result<std::shared_ptr<const LayerIndex>> claimed_index(Store& store, std::string_view bytes,
                                                        const Sha256Digest& diff_id);

// kCorrupt, naming the first difference, unless both describe the same tar.
Result<void> check_same_entries(const LayerIndex& claimed, const LayerIndex& true_index);

// A layer that `fetch` brings into the store when its bytes are needed for the first time.
LayerPtr remote_layer(Store& store, std::shared_ptr<const LayerIndex> index, Layer::Fetch fetch);

// Brings those that are not here, several at once. The first error is returned.
Result<void> bring_layers(const std::vector<LayerPtr>& layers, unsigned at_once = 4);

}  // namespace kasane::store
