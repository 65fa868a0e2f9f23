// Compression filters. Decompressors are linked in; no program is ever looked up.
// Limits: reference X13 (bombs): expanded size, ratio after 64 MiB, zstd window.
#pragma once

#include <memory>

#include "base/stream.h"

namespace kasane {

enum class Compression { kNone, kGzip, kZstd, kXz, kBzip2 };

struct DecompressLimits {
  uint64_t max_output_bytes = 1ull << 40;
  uint64_t max_ratio = 1000;                 // judged after ratio_grace_bytes of output
  uint64_t ratio_grace_bytes = 64ull << 20;
  uint64_t max_memory_bytes = 256ull << 20;  // zstd window, xz dictionary
};

// From the first bytes (6 are enough; fewer may give kNone).
Compression detect_compression(std::span<const uint8_t> head);

struct OpenedStream {
  Compression compression = Compression::kNone;
  std::unique_ptr<ByteSource> source;  // the expanded bytes
};

// Looks at the head of `inner`, which must outlive the result. Concatenated gzip
// members and zstd frames are read as one stream. Truncated or damaged input is
// kCorrupt, never a short read.
Result<OpenedStream> open_decompressed(ByteSource& inner, const DecompressLimits& limits = {});

// A sink that compresses to `out`; finish() must be called once, flushes, and writes
// the trailer. Same input and level → same bytes for one version of kasane: gzip
// headers carry no name and no time.
class CompressingSink : public ByteSink {
 public:
  virtual Result<void> finish() = 0;
};
Result<std::unique_ptr<CompressingSink>> make_compressor(Compression kind, ByteSink& out,
                                                         int level = -1);

}  // namespace kasane
