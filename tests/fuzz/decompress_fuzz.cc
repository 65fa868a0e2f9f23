// Arbitrary bytes as a compressed stream (gzip, zstd, xz, bzip2). Oracles: output stays
// below the limits; pieces do not matter; for gzip, zlib agrees on a whole first member.
#include <zlib.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/compress.h"
#include "base/stream.h"
#include "input.h"

using namespace kasane;
using kasane::fuzz::require;

namespace {

constexpr uint64_t kMaxOutput = 1 << 17;

class PieceSource : public ByteSource {
 public:
  PieceSource(std::string_view bytes, size_t piece) : inner_(bytes), piece_(piece) {}
  Result<size_t> read(std::span<uint8_t> buffer) override {
    return inner_.read(buffer.first(std::min(buffer.size(), piece_)));
  }

 private:
  MemorySource inner_;
  size_t piece_;
};

struct Expanded {
  Compression compression = Compression::kNone;
  std::string text;
  bool ok = false;
};

Expanded expand(std::string_view bytes, size_t in_piece, size_t out_piece) {
  Expanded result;
  DecompressLimits limits;
  limits.max_output_bytes = kMaxOutput;
  limits.max_memory_bytes = 16 << 20;
  PieceSource source(bytes, in_piece);
  Result<OpenedStream> opened = open_decompressed(source, limits);
  if (!opened) return result;
  result.compression = opened->compression;
  std::vector<uint8_t> buffer(out_piece);
  for (;;) {
    Result<size_t> n = opened->source->read(buffer);
    if (!n) {
      require(!opened->source->read(buffer).has_value(), "errors stay");
      return result;
    }
    if (*n == 0) break;
    result.text.append(reinterpret_cast<const char*>(buffer.data()), *n);
    require(result.text.size() <= kMaxOutput, "output limit");
  }
  result.ok = true;
  return result;
}

// All members through zlib; false unless every one is whole and only NULs follow.
bool zlib_expand(std::string_view bytes, std::string& text) {
  z_stream stream{};
  if (inflateInit2(&stream, 15 + 16) != Z_OK) return false;
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  std::string buffer(1 << 16, '\0');
  bool good = false;
  for (;;) {
    stream.next_out = reinterpret_cast<Bytef*>(buffer.data());
    stream.avail_out = static_cast<uInt>(buffer.size());
    const int status = inflate(&stream, Z_NO_FLUSH);
    text.append(buffer, 0, buffer.size() - stream.avail_out);
    if (text.size() > kMaxOutput) break;
    if (status == Z_STREAM_END) {
      const Bytef* end = stream.next_in + stream.avail_in;
      good = std::all_of(static_cast<const Bytef*>(stream.next_in), end,
                         [](Bytef b) { return b == 0; });
      if (good) break;
      if (inflateReset(&stream) != Z_OK) break;
      continue;
    }
    if (status != Z_OK) break;
  }
  inflateEnd(&stream);
  return good;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 1 << 16) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const Expanded whole = expand(bytes, 1 << 20, 1 << 16);
  const Expanded pieces = expand(bytes, 13, 997);
  require(whole.compression == pieces.compression, "detection does not depend on pieces");
  require(whole.ok == pieces.ok, "verdict does not depend on pieces");
  if (whole.ok) require(whole.text == pieces.text, "pieces do not matter");
  if (whole.compression == Compression::kGzip) {
    std::string reference;
    const bool good = zlib_expand(bytes, reference);
    if (reference.size() > kMaxOutput) return 0;
    require(good == whole.ok, "zlib has the same verdict");
    if (good) require(reference == whole.text, "zlib has the same text");
  }
  if (whole.compression == Compression::kNone) require(whole.text == bytes, "plain passes through");
  return 0;
}
