#include "tar/input.h"

#include <algorithm>
#include <cstring>

namespace kasane::tar {
namespace {

constexpr size_t kBufferSize = 64 * 1024;

Error truncated(uint64_t offset) {
  return Error(ErrorKind::kCorrupt, "the archive is cut off after byte " + std::to_string(offset));
}

}  // namespace

BlockInput::BlockInput(ByteSource& source, ByteSink* skeleton)
    : source_(source), skeleton_(skeleton), buffer_(kBufferSize) {}

Result<bool> BlockInput::fill() {
  if (begin_ > 0) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  const size_t n = TRY(source_.read(std::span(buffer_).subspan(end_)));
  end_ += n;
  return n > 0;
}

Result<void> BlockInput::consume(size_t size, bool is_content) {
  if (skeleton_ && !is_content) TRY(skeleton_->write(available().first(size)));
  begin_ += size;
  offset_ += size;
  return {};
}

Result<const RawHeader*> BlockInput::peek_block() {
  while (available().size() < kBlockSize) {
    if (TRY(fill())) continue;
    if (available().empty()) return static_cast<const RawHeader*>(nullptr);
    return truncated(offset_ + available().size());
  }
  return reinterpret_cast<const RawHeader*>(available().data());
}

Result<void> BlockInput::take_block() { return consume(kBlockSize, false); }

Result<void> BlockInput::take_text(uint64_t size, std::string& text) {
  while (size > 0) {
    if (available().empty() && !TRY(fill())) return truncated(offset_);
    const size_t n = std::min<uint64_t>(size, available().size());
    text.append(reinterpret_cast<const char*>(available().data()), n);
    TRY(consume(n, false));
    size -= n;
  }
  return {};
}

Result<void> BlockInput::skip(uint64_t size, bool is_content) {
  while (size > 0) {
    if (available().empty() && !TRY(fill())) return truncated(offset_);
    const size_t n = std::min<uint64_t>(size, available().size());
    TRY(consume(n, is_content));
    size -= n;
  }
  return {};
}

Result<size_t> BlockInput::read_content(std::span<uint8_t> buffer) {
  if (buffer.empty()) return size_t{0};
  if (available().empty()) {
    if (buffer.size() >= kBufferSize) {  // no copy for large reads
      const size_t n = TRY(source_.read(buffer));
      if (n == 0) return truncated(offset_);
      offset_ += n;
      return n;
    }
    if (!TRY(fill())) return truncated(offset_);
  }
  const size_t n = std::min(buffer.size(), available().size());
  std::memcpy(buffer.data(), available().data(), n);
  TRY(consume(n, true));
  return n;
}

Result<void> BlockInput::drain_zeros() {
  do {
    if (!all_zero(available()))
      return Error(ErrorKind::kCorrupt,
                   "data follows the end mark of the archive near byte " + std::to_string(offset_));
    TRY(consume(available().size(), false));
  } while (TRY(fill()));
  return {};
}

}  // namespace kasane::tar
