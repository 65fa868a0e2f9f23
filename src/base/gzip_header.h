// The header of a gzip member (RFC 1952, 2.3), taken in pieces of any size. igzip has a
// reader of its own, but it fails on a header with a checksum that is split between two
// buffers. Used by base/decompress.cc. One thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace kasane {

class GzipHeader {
 public:
  enum class Status { kMore, kDone, kBad };

  void restart() { *this = GzipHeader(); }
  // Takes bytes from the front of `in` until the header is complete; `taken` tells how many.
  Status take(std::span<const uint8_t> in, size_t& taken);

 private:
  enum class Stage { kFixed, kExtraLength, kExtra, kName, kComment, kChecksum, kDone };
  bool take_byte(uint8_t byte);  // false when it cannot be gzip
  void enter(Stage stage);       // or the next one that the flags ask for

  Stage stage_ = Stage::kFixed;
  uint8_t flags_ = 0;
  uint32_t position_ = 0;  // in the current stage
  uint32_t value_ = 0;     // little-endian number of the current stage, or length of extra
  uint32_t crc_ = 0;       // of what came so far
};

}  // namespace kasane
