// Checking the unpacked body of a layer against its index.
#pragma once

#include <memory>

#include "store/layer.h"

namespace kasane::store {

// Every entry of the index is in the tree with its type, size and link target. Contents are
// not read. kCorrupt otherwise. Whiteouts are not judged.
Result<void> check_tree(const Layer& layer, const TreeRunner& runner);

// The tar made from the tree even where the layer has a blob; verified like
// Layer::open_tar(). The layer must outlive the result.
Result<std::unique_ptr<ByteSource>> open_tar_from_tree(const Layer& layer,
                                                       const TreeRunner& runner);

}  // namespace kasane::store
