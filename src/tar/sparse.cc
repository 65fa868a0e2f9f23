#include "tar/sparse.h"

#include <algorithm>
#include <cstring>

namespace kasane::tar {
namespace {

constexpr size_t kSlotSize = 24;         // offset[12] numbytes[12]
constexpr size_t kHeaderSlots = 386;     // place of the first slot in the header
constexpr size_t kHeaderExtended = 482;  // "more in the next block" flag
constexpr size_t kHeaderRealSize = 483;  // expanded size, 12 bytes
constexpr size_t kExtensionSlotCount = 21;
constexpr size_t kExtensionExtended = 504;

Error malformed(const char* what) {
  return Error(ErrorKind::kCorrupt, std::string("malformed sparse file: ") + what);
}

Error too_many(const ReaderLimits& limits) {
  return Error(ErrorKind::kLimit, "a sparse file has more than " +
                                      std::to_string(limits.max_sparse_regions) + " regions");
}

Result<uint64_t> number_at(const char* field) {
  const std::optional<int64_t> value = parse_number(std::span(field, 12));
  if (!value || *value < 0) return malformed("a number of its map is wrong");
  return static_cast<uint64_t>(*value);
}

// Appends slots until the first empty one; false when that one came.
Result<bool> add_slots(const char* slots, size_t count, const ReaderLimits& limits,
                       std::vector<SparseRegion>& regions) {
  for (size_t i = 0; i < count; ++i) {
    const char* slot = slots + i * kSlotSize;
    if (slot[0] == '\0' || slot[12] == '\0') {
      if (slot[0] != slot[12]) return malformed("a region of its map is incomplete");
      return false;
    }
    if (regions.size() >= limits.max_sparse_regions) return too_many(limits);
    const uint64_t offset = TRY(number_at(slot));
    regions.push_back({offset, TRY(number_at(slot + 12))});
  }
  return true;
}

// Decimal numbers, one a line, in whole blocks: count, then offset and size of each region.
class MapText {
 public:
  MapText(BlockInput& input, uint64_t& stored_size) : input_(input), stored_size_(stored_size) {}

  Result<uint64_t> number() {
    std::string digits;
    for (;;) {
      if (at_ == text_.size()) TRY(more());
      const char c = text_[at_++];
      if (c == '\n') break;
      if (digits.size() >= 19) return malformed("a number of its map is too long");
      digits += c;
    }
    const std::optional<uint64_t> value = parse_decimal(digits);
    if (!value) return malformed("a number of its map is wrong");
    return *value;
  }

 private:
  Result<void> more() {
    if (stored_size_ < kBlockSize) return malformed("its map is cut off");
    text_.clear();
    at_ = 0;
    stored_size_ -= kBlockSize;
    return input_.take_text(kBlockSize, text_);
  }

  BlockInput& input_;
  uint64_t& stored_size_;
  std::string text_;
  size_t at_ = 0;
};

Result<std::vector<SparseRegion>> read_map_text(BlockInput& input, const ReaderLimits& limits,
                                                uint64_t& stored_size) {
  MapText text(input, stored_size);
  const uint64_t count = TRY(text.number());
  if (count > limits.max_sparse_regions) return too_many(limits);
  std::vector<SparseRegion> regions;
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t offset = TRY(text.number());
    regions.push_back({offset, TRY(text.number())});
  }
  return regions;
}

}  // namespace

Result<SparseMap> read_gnu_map(const RawHeader& header, BlockInput& input,
                               const ReaderLimits& limits) {
  const char* bytes = reinterpret_cast<const char*>(&header);
  SparseMap map;
  map.expanded_size = TRY(number_at(bytes + kHeaderRealSize));
  bool open = TRY(add_slots(bytes + kHeaderSlots, 4, limits, map.regions));
  bool extended = bytes[kHeaderExtended] != '\0';
  std::string block;
  while (extended) {
    // An empty slot ends the map; more blocks after it could be read as members.
    if (!open) return malformed("its map goes on after its end");
    block.clear();
    TRY(input.take_text(kBlockSize, block));
    open = TRY(add_slots(block.data(), kExtensionSlotCount, limits, map.regions));
    extended = block[kExtensionExtended] != '\0';
  }
  return map;
}

Result<SparseMap> read_pax_map(PaxSparse sparse, BlockInput& input, const ReaderLimits& limits,
                               uint64_t& stored_size) {
  if (!sparse.expanded_size) return malformed("its size is missing");
  SparseMap map;
  map.expanded_size = *sparse.expanded_size;
  const uint64_t major = sparse.major.value_or(0);
  if (major > 1 || sparse.minor.value_or(0) > (major == 0 ? 1 : 0))
    return Error(ErrorKind::kUnsupported, "sparse format " + std::to_string(major) + "." +
                                              std::to_string(sparse.minor.value_or(0)) +
                                              " is not known");
  if (sparse.map_is_in_data()) {
    if (!sparse.regions.empty()) return malformed("it has two maps");
    map.regions = TRY(read_map_text(input, limits, stored_size));
    return map;
  }
  if (sparse.block_count && *sparse.block_count != sparse.regions.size())
    return malformed("its map has another number of regions than it says");
  map.regions = std::move(sparse.regions);
  return map;
}

Result<void> check_map(SparseMap& map, uint64_t stored_size) {
  uint64_t end = 0;
  uint64_t stored = 0;
  for (const SparseRegion& region : map.regions) {
    if (region.offset < end) return malformed("regions overlap or descend");
    if (region.offset > map.expanded_size || region.size > map.expanded_size - region.offset)
      return malformed("a region lies behind the end of the file");
    end = region.offset + region.size;
    stored += region.size;
  }
  if (stored != stored_size) return malformed("the regions are not what is stored");
  std::erase_if(map.regions, [](const SparseRegion& region) { return region.size == 0; });
  return {};
}

}  // namespace kasane::tar
