// Writing side of base/compress.h. The reading side is base/decompress.cc.
#include "base/compress.h"

#include <bzlib.h>
#include <isa-l/igzip_lib.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <vector>

namespace kasane {
namespace {

constexpr size_t kOutputSize = 256 * 1024;
constexpr size_t kPieceSize = 128 * 1024;  // part of the format: changes gzip's bytes

// Common part. The encoders get pieces of one fixed size whatever write() was called with,
// because igzip's output depends on them and the same input must give the same bytes.
class BufferedCompressor : public CompressingSink {
 public:
  explicit BufferedCompressor(ByteSink& out) : out_(out), buffer_(kOutputSize) {
    pending_.reserve(kPieceSize);
  }

  Result<void> write(std::span<const uint8_t> bytes) override {
    if (finished_) return Error(ErrorKind::kInternal, "compressor: write() after finish()");
    while (!bytes.empty()) {
      if (pending_.empty() && bytes.size() >= kPieceSize) {
        TRY(encode(bytes.first(kPieceSize), false));
        bytes = bytes.subspan(kPieceSize);
        continue;
      }
      const size_t n = std::min(bytes.size(), kPieceSize - pending_.size());
      pending_.insert(pending_.end(), bytes.begin(), bytes.begin() + n);
      bytes = bytes.subspan(n);
      if (pending_.size() < kPieceSize) break;
      TRY(encode(pending_, false));
      pending_.clear();
    }
    return {};
  }

  Result<void> finish() override {
    if (finished_) return Error(ErrorKind::kInternal, "compressor: finish() called twice");
    finished_ = true;
    return encode(pending_, true);
  }

 protected:
  // Consumes all of `in`; with `last`, everything up to the trailer comes out.
  virtual Result<void> encode(std::span<const uint8_t> in, bool last) = 0;
  std::span<uint8_t> buffer() { return buffer_; }
  Result<void> flush(size_t size) {
    return size > 0 ? out_.write(std::span(buffer_).first(size)) : Result<void>();
  }

 private:
  ByteSink& out_;
  std::vector<uint8_t> buffer_;
  std::vector<uint8_t> pending_;
  bool finished_ = false;
};

class PlainCompressor : public CompressingSink {
 public:
  explicit PlainCompressor(ByteSink& out) : out_(out) {}
  Result<void> write(std::span<const uint8_t> bytes) override { return out_.write(bytes); }
  Result<void> finish() override { return {}; }

 private:
  ByteSink& out_;
};

class IsalCompressor : public BufferedCompressor {
 public:
  IsalCompressor(ByteSink& out, int level) : BufferedCompressor(out) {
    static constexpr uint32_t kWorkSize[] = {0, ISAL_DEF_LVL1_DEFAULT, ISAL_DEF_LVL2_DEFAULT,
                                             ISAL_DEF_LVL3_DEFAULT};
    work_.resize(kWorkSize[level]);
    isal_deflate_init(&stream_);
    stream_.level = static_cast<uint32_t>(level);
    stream_.level_buf = work_.data();
    stream_.level_buf_size = static_cast<uint32_t>(work_.size());
    stream_.gzip_flag = IGZIP_GZIP;  // its header has no name and time 0
  }

 protected:
  Result<void> encode(std::span<const uint8_t> in, bool last) override {
    stream_.next_in = const_cast<uint8_t*>(in.data());
    stream_.avail_in = static_cast<uint32_t>(in.size());
    stream_.end_of_stream = last ? 1 : 0;
    do {
      stream_.next_out = buffer().data();
      stream_.avail_out = static_cast<uint32_t>(buffer().size());
      const int status = isal_deflate(&stream_);
      if (status != COMP_OK)
        return Error(ErrorKind::kInternal, "igzip: error " + std::to_string(status));
      TRY(flush(buffer().size() - stream_.avail_out));
    } while (stream_.avail_out == 0 || stream_.avail_in > 0);
    return {};
  }

 private:
  std::vector<uint8_t> work_;
  isal_zstream stream_;
};

class ZlibCompressor : public BufferedCompressor {
 public:
  ZlibCompressor(ByteSink& out, int level) : BufferedCompressor(out) {
    constexpr int kGzipWindow = 15 + 16;  // zlib.h: 16 asks for the gzip form
    ready_ = deflateInit2(&stream_, level, Z_DEFLATED, kGzipWindow, 8, Z_DEFAULT_STRATEGY) == Z_OK;
  }
  ~ZlibCompressor() override { deflateEnd(&stream_); }

 protected:
  Result<void> encode(std::span<const uint8_t> in, bool last) override {
    if (!ready_) return Error(ErrorKind::kIo, "out of memory for gzip");
    stream_.next_in = const_cast<uint8_t*>(in.data());
    stream_.avail_in = static_cast<uInt>(in.size());
    do {
      stream_.next_out = buffer().data();
      stream_.avail_out = static_cast<uInt>(buffer().size());
      if (deflate(&stream_, last ? Z_FINISH : Z_NO_FLUSH) == Z_STREAM_ERROR)
        return Error(ErrorKind::kInternal, "zlib: stream error");
      TRY(flush(buffer().size() - stream_.avail_out));
    } while (stream_.avail_out == 0);
    return {};
  }

 private:
  z_stream stream_ = {};
  bool ready_ = false;
};

class ZstdCompressor : public BufferedCompressor {
 public:
  ZstdCompressor(ByteSink& out, int level) : BufferedCompressor(out), context_(ZSTD_createCCtx()) {
    ZSTD_CCtx_setParameter(context_, ZSTD_c_compressionLevel, level);
    ZSTD_CCtx_setParameter(context_, ZSTD_c_checksumFlag, 1);
  }
  ~ZstdCompressor() override { ZSTD_freeCCtx(context_); }
  ZstdCompressor(const ZstdCompressor&) = delete;
  ZstdCompressor& operator=(const ZstdCompressor&) = delete;

 protected:
  Result<void> encode(std::span<const uint8_t> in, bool last) override {
    if (!context_) return Error(ErrorKind::kIo, "out of memory for zstd");
    ZSTD_inBuffer input{in.data(), in.size(), 0};
    for (;;) {
      ZSTD_outBuffer output{buffer().data(), buffer().size(), 0};
      const size_t rest =
          ZSTD_compressStream2(context_, &output, &input, last ? ZSTD_e_end : ZSTD_e_continue);
      if (ZSTD_isError(rest))
        return Error(ErrorKind::kInternal, std::string("zstd: ") + ZSTD_getErrorName(rest));
      TRY(flush(output.pos));
      if (last ? rest == 0 : input.pos == input.size) return {};
    }
  }

 private:
  ZSTD_CCtx* context_;
};

class XzCompressor : public BufferedCompressor {
 public:
  XzCompressor(ByteSink& out, int level) : BufferedCompressor(out) {
    ready_ = lzma_easy_encoder(&stream_, static_cast<uint32_t>(level), LZMA_CHECK_CRC64) == LZMA_OK;
  }
  ~XzCompressor() override { lzma_end(&stream_); }
  XzCompressor(const XzCompressor&) = delete;
  XzCompressor& operator=(const XzCompressor&) = delete;

 protected:
  Result<void> encode(std::span<const uint8_t> in, bool last) override {
    if (!ready_) return Error(ErrorKind::kIo, "out of memory for xz");
    stream_.next_in = in.data();
    stream_.avail_in = in.size();
    for (;;) {
      stream_.next_out = buffer().data();
      stream_.avail_out = buffer().size();
      const lzma_ret status = lzma_code(&stream_, last ? LZMA_FINISH : LZMA_RUN);
      if (status != LZMA_OK && status != LZMA_STREAM_END)
        return Error(ErrorKind::kInternal, "liblzma: error " + std::to_string(status));
      TRY(flush(buffer().size() - stream_.avail_out));
      if (last ? status == LZMA_STREAM_END : stream_.avail_in == 0) return {};
    }
  }

 private:
  lzma_stream stream_ = LZMA_STREAM_INIT;
  bool ready_ = false;
};

class Bzip2Compressor : public BufferedCompressor {
 public:
  Bzip2Compressor(ByteSink& out, int level) : BufferedCompressor(out) {
    ready_ = BZ2_bzCompressInit(&stream_, level, 0, 0) == BZ_OK;
  }
  ~Bzip2Compressor() override { BZ2_bzCompressEnd(&stream_); }

 protected:
  Result<void> encode(std::span<const uint8_t> in, bool last) override {
    if (!ready_) return Error(ErrorKind::kIo, "out of memory for bzip2");
    stream_.next_in = const_cast<char*>(reinterpret_cast<const char*>(in.data()));
    stream_.avail_in = static_cast<unsigned>(in.size());
    for (;;) {
      stream_.next_out = reinterpret_cast<char*>(buffer().data());
      stream_.avail_out = static_cast<unsigned>(buffer().size());
      const int status = BZ2_bzCompress(&stream_, last ? BZ_FINISH : BZ_RUN);
      if (status < 0) return Error(ErrorKind::kInternal, "libbz2: error " + std::to_string(status));
      TRY(flush(buffer().size() - stream_.avail_out));
      if (last ? status == BZ_STREAM_END : stream_.avail_in == 0) return {};
    }
  }

 private:
  bz_stream stream_ = {};
  bool ready_ = false;
};

struct LevelRange {
  int lowest;
  int highest;
  int standard;
};

LevelRange levels_of(Compression kind) {
  switch (kind) {
    case Compression::kGzip:
      return {0, 9, 1};
    case Compression::kZstd:
      return {1, 22, 3};
    case Compression::kXz:
      return {0, 9, 6};
    case Compression::kBzip2:
      return {1, 9, 9};
    case Compression::kNone:
      break;
  }
  return {0, 0, 0};
}

}  // namespace

Result<std::unique_ptr<CompressingSink>> make_compressor(Compression kind, ByteSink& out,
                                                         int level) {
  using Made = std::unique_ptr<CompressingSink>;
  const LevelRange range = levels_of(kind);
  if (level == -1) level = range.standard;
  if (level < range.lowest || level > range.highest)
    return Error(ErrorKind::kInvalid, "compression level " + std::to_string(level) +
                                          " is not between " + std::to_string(range.lowest) +
                                          " and " + std::to_string(range.highest));
  switch (kind) {
    case Compression::kGzip:
      // ISA-L is several times faster but has no slow levels.
      if (level >= 1 && level <= 3) return Made(std::make_unique<IsalCompressor>(out, level));
      return Made(std::make_unique<ZlibCompressor>(out, level));
    case Compression::kZstd:
      return Made(std::make_unique<ZstdCompressor>(out, level));
    case Compression::kXz:
      return Made(std::make_unique<XzCompressor>(out, level));
    case Compression::kBzip2:
      return Made(std::make_unique<Bzip2Compressor>(out, level));
    case Compression::kNone:
      break;
  }
  return Made(std::make_unique<PlainCompressor>(out));
}

}  // namespace kasane
