// The image at the end of a build: configuration, history and layer list in BuildKit's form
// (reference 1.21).
#pragma once

#include <map>
#include <optional>

#include "build/graph.h"

namespace kasane::build {

// Fills rootfs, history and times. `epoch`: SOURCE_DATE_EPOCH in seconds.
oci::ImageConfig assemble_config(const Target& target, const std::map<VertexId, VertexResult>& results,
                                 std::optional<int64_t> epoch);

}  // namespace kasane::build
