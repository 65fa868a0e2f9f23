// Sizes as docker's flags write them.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace kasane {

// go-units RAMInBytes: "64m", "1.5 GiB", "100kb"; powers of 1024. nullopt: not a size.
std::optional<uint64_t> parse_ram_size(std::string_view text);

}  // namespace kasane
