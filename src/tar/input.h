// Buffered input of the tar reader. It counts what is consumed, and passes what is not
// file content on to the skeleton sink. Internal to src/tar.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/stream.h"
#include "tar/header.h"

namespace kasane::tar {

// One thread at a time. Source and skeleton (may be null) must outlive it.
class BlockInput {
 public:
  BlockInput(ByteSource& source, ByteSink* skeleton);

  // The next block without consuming it; null at the end of the source. kCorrupt when the
  // source ends inside a block. Valid until the next call of any other method.
  Result<const RawHeader*> peek_block();
  // Consumes the block that peek_block() returned.
  Result<void> take_block();
  // Consumes `size` bytes and appends them to `text`.
  Result<void> take_text(uint64_t size, std::string& text);
  // Consumes and drops `size` bytes; they go to the skeleton unless they are content.
  Result<void> skip(uint64_t size, bool is_content);
  // Up to buffer.size() content bytes; kCorrupt at the end of the source.
  Result<size_t> read_content(std::span<uint8_t> buffer);
  // Consumes all up to the end of the source; kCorrupt unless every byte is NUL.
  Result<void> drain_zeros();

  uint64_t offset() const { return offset_; }

 private:
  std::span<const uint8_t> available() const { return {buffer_.data() + begin_, end_ - begin_}; }
  Result<bool> fill();  // false at the end of the source
  Result<void> consume(size_t size, bool is_content);

  ByteSource& source_;
  ByteSink* skeleton_;
  std::vector<uint8_t> buffer_;
  size_t begin_ = 0;
  size_t end_ = 0;
  uint64_t offset_ = 0;
};

}  // namespace kasane::tar
