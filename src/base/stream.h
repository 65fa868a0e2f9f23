// Byte streams. Sources and sinks are used by one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/hash.h"
#include "base/result.h"

namespace kasane {

class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // Up to buffer.size() bytes; 0 only at the end of the stream.
  virtual Result<size_t> read(std::span<uint8_t> buffer) = 0;
};

class ByteSink {
 public:
  virtual ~ByteSink() = default;
  virtual Result<void> write(std::span<const uint8_t> bytes) = 0;
};

class FdSource : public ByteSource {  // does not own the fd
 public:
  FdSource(int fd, std::string name) : fd_(fd), name_(std::move(name)) {}
  Result<size_t> read(std::span<uint8_t> buffer) override;

 private:
  int fd_;
  std::string name_;
};

class FdSink : public ByteSink {  // does not own the fd
 public:
  FdSink(int fd, std::string name) : fd_(fd), name_(std::move(name)) {}
  Result<void> write(std::span<const uint8_t> bytes) override;

 private:
  int fd_;
  std::string name_;
};

class MemorySource : public ByteSource {  // does not own the bytes
 public:
  explicit MemorySource(std::string_view bytes) : rest_(bytes) {}
  Result<size_t> read(std::span<uint8_t> buffer) override;

 private:
  std::string_view rest_;
};

class StringSink : public ByteSink {
 public:
  Result<void> write(std::span<const uint8_t> bytes) override;
  std::string text;
};

// Hashes and counts what passes through to `next` (which may be null).
class HashingSink : public ByteSink {
 public:
  explicit HashingSink(ByteSink* next) : next_(next) {}
  Result<void> write(std::span<const uint8_t> bytes) override;
  uint64_t size() const { return size_; }
  Sha256Digest finish() { return hash_.finish(); }

 private:
  ByteSink* next_;
  Sha256 hash_;
  uint64_t size_ = 0;
};

class HashingSource : public ByteSource {
 public:
  explicit HashingSource(ByteSource& inner) : inner_(inner) {}
  Result<size_t> read(std::span<uint8_t> buffer) override;
  uint64_t size() const { return size_; }
  Sha256Digest finish() { return hash_.finish(); }

 private:
  ByteSource& inner_;
  Sha256 hash_;
  uint64_t size_ = 0;
};

// Reads until the buffer is full or the stream ends; returns the bytes read.
Result<size_t> read_full(ByteSource& source, std::span<uint8_t> buffer);
// Returns the number of bytes copied. kLimit when more than max_bytes come.
Result<uint64_t> copy_stream(ByteSource& source, ByteSink& sink, uint64_t max_bytes = UINT64_MAX);

}  // namespace kasane
