#include "base/gzip_header.h"

#include <zlib.h>

namespace kasane {
namespace {

constexpr uint8_t kHasChecksum = 0x02;
constexpr uint8_t kHasExtra = 0x04;
constexpr uint8_t kHasName = 0x08;
constexpr uint8_t kHasComment = 0x10;
constexpr uint8_t kReserved = 0xe0;
constexpr uint8_t kMagic[] = {0x1f, 0x8b, 8};  // 8: deflate
constexpr uint32_t kFixedSize = 10;

}  // namespace

void GzipHeader::enter(Stage stage) {
  position_ = 0;
  if (stage == Stage::kExtraLength && !(flags_ & kHasExtra)) stage = Stage::kName;
  if (stage == Stage::kExtra && value_ == 0) stage = Stage::kName;
  if (stage == Stage::kName && !(flags_ & kHasName)) stage = Stage::kComment;
  if (stage == Stage::kComment && !(flags_ & kHasComment)) stage = Stage::kChecksum;
  if (stage == Stage::kChecksum && !(flags_ & kHasChecksum)) stage = Stage::kDone;
  if (stage != Stage::kExtra) value_ = 0;
  stage_ = stage;
}

bool GzipHeader::take_byte(uint8_t byte) {
  const uint32_t at = position_++;
  if (stage_ != Stage::kChecksum) crc_ = static_cast<uint32_t>(crc32(crc_, &byte, 1));
  switch (stage_) {
    case Stage::kFixed:
      if (at < sizeof kMagic && byte != kMagic[at]) return false;
      if (at == sizeof kMagic) flags_ = byte;
      if (flags_ & kReserved) return false;
      if (at + 1 == kFixedSize) enter(Stage::kExtraLength);
      break;
    case Stage::kExtraLength:
      value_ |= static_cast<uint32_t>(byte) << (8 * at);
      if (at == 1) enter(Stage::kExtra);
      break;
    case Stage::kExtra:
      if (at + 1 == value_) enter(Stage::kName);
      break;
    case Stage::kName:
      if (byte == 0) enter(Stage::kComment);
      break;
    case Stage::kComment:
      if (byte == 0) enter(Stage::kChecksum);
      break;
    case Stage::kChecksum:
      value_ |= static_cast<uint32_t>(byte) << (8 * at);
      if (at == 1) {
        if (value_ != (crc_ & 0xffff)) return false;
        enter(Stage::kDone);
      }
      break;
    case Stage::kDone:
      break;
  }
  return true;
}

GzipHeader::Status GzipHeader::take(std::span<const uint8_t> in, size_t& taken) {
  for (taken = 0; stage_ != Stage::kDone; ++taken) {
    if (taken == in.size()) return Status::kMore;
    if (!take_byte(in[taken])) return Status::kBad;
  }
  return Status::kDone;
}

}  // namespace kasane
