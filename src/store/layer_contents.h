// LayerContents: the contents of many files of one layer, read in ascending order of their
// place in the layer without opening anything per file. For exports and rewriting.
#pragma once

#include <memory>

#include "store/layer.h"

namespace kasane::store {

// One thread. The layer must outlive it. Contents are checked against the index's digests:
// a damaged one gives kCorrupt instead of its end.
class LayerContents {
 public:
  explicit LayerContents(const Layer& layer) : layer_(layer) {}
  ~LayerContents();
  LayerContents(const LayerContents&) = delete;
  LayerContents& operator=(const LayerContents&) = delete;

  // Content of the regular file at index position `i` (a hard link: of the file it names).
  // Valid until the next call. Any order works; ascending positions are fast.
  Result<ByteSource*> open(size_t i);

 private:
  class Range;
  class StreamPart;
  Result<std::unique_ptr<ByteSource>> open_in_stream(const EntryView& entry);

  const Layer& layer_;
  UniqueFd blob_;                       // when the layer has one
  std::unique_ptr<ByteSource> stream_;  // else: the tar, made again from the tree
  uint64_t stream_offset_ = 0;
  std::unique_ptr<ByteSource> current_;
};

}  // namespace kasane::store
