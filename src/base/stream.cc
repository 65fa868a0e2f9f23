#include "base/stream.h"

#include <algorithm>
#include <cstring>

namespace kasane {

Result<size_t> FdSource::read(std::span<uint8_t> buffer) { return read_some(fd_, buffer, name_); }
Result<void> FdSink::write(std::span<const uint8_t> bytes) { return write_all(fd_, bytes, name_); }

Result<size_t> MemorySource::read(std::span<uint8_t> buffer) {
  size_t n = std::min(buffer.size(), rest_.size());
  if (n > 0) std::memcpy(buffer.data(), rest_.data(), n);
  rest_.remove_prefix(n);
  return n;
}

Result<void> StringSink::write(std::span<const uint8_t> bytes) {
  text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return {};
}

Result<void> HashingSink::write(std::span<const uint8_t> bytes) {
  hash_.update(bytes);
  size_ += bytes.size();
  if (next_) return next_->write(bytes);
  return {};
}

Result<size_t> HashingSource::read(std::span<uint8_t> buffer) {
  size_t n = TRY(inner_.read(buffer));
  hash_.update(buffer.first(n));
  size_ += n;
  return n;
}

Result<size_t> read_full(ByteSource& source, std::span<uint8_t> buffer) {
  size_t done = 0;
  while (done < buffer.size()) {
    size_t n = TRY(source.read(buffer.subspan(done)));
    if (n == 0) break;
    done += n;
  }
  return done;
}

Result<uint64_t> copy_stream(ByteSource& source, ByteSink& sink, uint64_t max_bytes) {
  constexpr size_t kChunk = 256 * 1024;
  auto buffer = std::make_unique<uint8_t[]>(kChunk);
  uint64_t total = 0;
  for (;;) {
    size_t n = TRY(source.read(std::span(buffer.get(), kChunk)));
    if (n == 0) return total;
    total += n;
    if (total > max_bytes)
      return Error(ErrorKind::kLimit, "stream is larger than " + std::to_string(max_bytes) + " bytes");
    TRY(sink.write(std::span<const uint8_t>(buffer.get(), n)));
  }
}

}  // namespace kasane
