// Sparse maps: old GNU (header and extension blocks), PAX 0.0, 0.1 and 1.0. GNU tar
// manual, "Storing Sparse Files". Reference X11. Internal to src/tar.
#pragma once

#include <cstdint>
#include <vector>

#include "tar/input.h"
#include "tar/pax.h"
#include "tar/reader.h"

namespace kasane::tar {

struct SparseMap {
  uint64_t expanded_size = 0;
  std::vector<SparseRegion> regions;
};

// Old GNU: `header` is the member's own header, already consumed; reads its extension blocks.
Result<SparseMap> read_gnu_map(const RawHeader& header, BlockInput& input,
                               const ReaderLimits& limits);

// PAX: reads the map from the head of the data when it is there (1.0). `stored_size` is the
// size of the member's data, and becomes less by the blocks of the map.
Result<SparseMap> read_pax_map(PaxSparse sparse, BlockInput& input, const ReaderLimits& limits,
                               uint64_t& stored_size);

// Regions ascend without overlap, end within the file, and are all that is stored. Empty
// ones are dropped. kCorrupt.
Result<void> check_map(SparseMap& map, uint64_t stored_size);

}  // namespace kasane::tar
