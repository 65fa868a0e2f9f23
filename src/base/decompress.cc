// Reading side of base/compress.h.
#include <bzlib.h>
#include <isa-l/igzip_lib.h>
#include <lzma.h>
#include <zstd.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>

#include "base/compress.h"
#include "base/gzip_header.h"

namespace kasane {
namespace {

constexpr size_t kInputSize = 256 * 1024;

// The compressed data of one member (gzip), frame (zstd) or stream (xz, bzip2).
class Decoder {
 public:
  struct Step {
    size_t consumed = 0;
    size_t produced = 0;
    bool at_end = false;  // the member is complete and verified
  };
  virtual ~Decoder() = default;
  // Before each member.
  virtual Result<void> restart() = 0;
  virtual Result<Step> run(std::span<const uint8_t> in, std::span<uint8_t> out) = 0;
  virtual const char* name() const = 0;
};

Error damaged(const Decoder& decoder, const std::string& why) {
  return Error(ErrorKind::kCorrupt, std::string(decoder.name()) + " data is damaged: " + why);
}

Error needs_memory(const Decoder& decoder) {
  return Error(ErrorKind::kLimit, std::string(decoder.name()) +
                                      " data needs more memory to expand than the limit allows");
}

class GzipDecoder : public Decoder {
 public:
  Result<void> restart() override {
    header_.restart();
    in_header_ = true;
    if (started_)
      isal_inflate_reset(&state_);
    else
      isal_inflate_init(&state_);
    started_ = true;
    state_.crc_flag = ISAL_GZIP_NO_HDR_VER;  // it checks the trailer, we read the header
    return {};
  }

  Result<Step> run(std::span<const uint8_t> in, std::span<uint8_t> out) override {
    size_t head = 0;
    if (in_header_) {
      const GzipHeader::Status status = header_.take(in, head);
      if (status == GzipHeader::Status::kBad) return damaged(*this, "wrong header");
      if (status == GzipHeader::Status::kMore) return Step{head, 0, false};
      in_header_ = false;
      in = in.subspan(head);
    }
    state_.next_in = const_cast<uint8_t*>(in.data());
    state_.avail_in = static_cast<uint32_t>(in.size());
    state_.next_out = out.data();
    state_.avail_out = static_cast<uint32_t>(out.size());
    const int status = isal_inflate(&state_);
    if (status == ISAL_INCORRECT_CHECKSUM) return damaged(*this, "wrong checksum");
    if (status < 0) return damaged(*this, "igzip error " + std::to_string(status));
    if (status == ISAL_NEED_DICT) return damaged(*this, "it needs a dictionary");
    return Step{head + in.size() - state_.avail_in, out.size() - state_.avail_out,
                state_.block_state == ISAL_BLOCK_FINISH};
  }

  const char* name() const override { return "gzip"; }

 private:
  bool started_ = false;
  bool in_header_ = true;
  GzipHeader header_;
  inflate_state state_;
};

class ZstdDecoder : public Decoder {
 public:
  explicit ZstdDecoder(const DecompressLimits& limits) : context_(ZSTD_createDCtx()) {
    // The window is half of what the decoder allocates, at most; 128 MiB by default (X13).
    const int window_log = std::bit_width(limits.max_memory_bytes / 2) - 1;
    const ZSTD_bounds bounds = ZSTD_dParam_getBounds(ZSTD_d_windowLogMax);
    ZSTD_DCtx_setParameter(context_, ZSTD_d_windowLogMax,
                           std::clamp(window_log, bounds.lowerBound, bounds.upperBound));
  }
  ~ZstdDecoder() override { ZSTD_freeDCtx(context_); }
  ZstdDecoder(const ZstdDecoder&) = delete;
  ZstdDecoder& operator=(const ZstdDecoder&) = delete;

  Result<void> restart() override {
    if (!context_) return Error(ErrorKind::kIo, "out of memory for zstd");
    ZSTD_DCtx_reset(context_, ZSTD_reset_session_only);
    return {};
  }

  Result<Step> run(std::span<const uint8_t> in, std::span<uint8_t> out) override {
    ZSTD_inBuffer input{in.data(), in.size(), 0};
    ZSTD_outBuffer output{out.data(), out.size(), 0};
    const size_t status = ZSTD_decompressStream(context_, &output, &input);
    if (ZSTD_isError(status)) {
      // zstd_errors.h: ZSTD_error_frameParameter_windowTooLarge. The message is all that the
      // stable interface of the library offers.
      const std::string_view message = ZSTD_getErrorName(status);
      if (message.find("too much memory") != std::string_view::npos) return needs_memory(*this);
      return damaged(*this, std::string(message));
    }
    return Step{input.pos, output.pos, status == 0};
  }

  const char* name() const override { return "zstd"; }

 private:
  ZSTD_DCtx* context_;
};

class XzDecoder : public Decoder {
 public:
  explicit XzDecoder(const DecompressLimits& limits) : memory_(limits.max_memory_bytes) {}
  ~XzDecoder() override { lzma_end(&stream_); }
  XzDecoder(const XzDecoder&) = delete;
  XzDecoder& operator=(const XzDecoder&) = delete;

  Result<void> restart() override {
    if (lzma_stream_decoder(&stream_, memory_, LZMA_TELL_UNSUPPORTED_CHECK) != LZMA_OK)
      return Error(ErrorKind::kIo, "out of memory for xz");
    return {};
  }

  Result<Step> run(std::span<const uint8_t> in, std::span<uint8_t> out) override {
    stream_.next_in = in.data();
    stream_.avail_in = in.size();
    stream_.next_out = out.data();
    stream_.avail_out = out.size();
    const lzma_ret status = lzma_code(&stream_, LZMA_RUN);
    if (status == LZMA_MEMLIMIT_ERROR) return needs_memory(*this);
    if (status == LZMA_UNSUPPORTED_CHECK)
      return Error(ErrorKind::kUnsupported, "xz data has a checksum of an unknown kind");
    // LZMA_BUF_ERROR says that it needs more input, and is not final.
    if (status != LZMA_OK && status != LZMA_STREAM_END && status != LZMA_BUF_ERROR)
      return damaged(*this, "liblzma error " + std::to_string(status));
    return Step{in.size() - stream_.avail_in, out.size() - stream_.avail_out,
                status == LZMA_STREAM_END};
  }

  const char* name() const override { return "xz"; }

 private:
  uint64_t memory_;
  lzma_stream stream_ = LZMA_STREAM_INIT;
};

class Bzip2Decoder : public Decoder {
 public:
  ~Bzip2Decoder() override { BZ2_bzDecompressEnd(&stream_); }

  Result<void> restart() override {
    BZ2_bzDecompressEnd(&stream_);
    stream_ = {};
    if (BZ2_bzDecompressInit(&stream_, 0, 0) != BZ_OK)
      return Error(ErrorKind::kIo, "out of memory for bzip2");
    return {};
  }

  Result<Step> run(std::span<const uint8_t> in, std::span<uint8_t> out) override {
    stream_.next_in = const_cast<char*>(reinterpret_cast<const char*>(in.data()));
    stream_.avail_in = static_cast<unsigned>(in.size());
    stream_.next_out = reinterpret_cast<char*>(out.data());
    stream_.avail_out = static_cast<unsigned>(out.size());
    const int status = BZ2_bzDecompress(&stream_);
    if (status != BZ_OK && status != BZ_STREAM_END)
      return damaged(*this, "libbz2 error " + std::to_string(status));
    return Step{in.size() - stream_.avail_in, out.size() - stream_.avail_out,
                status == BZ_STREAM_END};
  }

  const char* name() const override { return "bzip2"; }

 private:
  bz_stream stream_ = {};
};

std::unique_ptr<Decoder> make_decoder(Compression kind, const DecompressLimits& limits) {
  switch (kind) {
    case Compression::kGzip:
      return std::make_unique<GzipDecoder>();
    case Compression::kZstd:
      return std::make_unique<ZstdDecoder>(limits);
    case Compression::kXz:
      return std::make_unique<XzDecoder>(limits);
    case Compression::kBzip2:
      return std::make_unique<Bzip2Decoder>();
    case Compression::kNone:
      break;
  }
  return nullptr;
}

// Reads members one after the other. Without a decoder the bytes pass through.
class ExpandedSource : public ByteSource {
 public:
  // The first head_size bytes of the stream are in `buffer`, which holds kInputSize.
  ExpandedSource(ByteSource& inner, std::unique_ptr<uint8_t[]> buffer, size_t head_size,
                 std::unique_ptr<Decoder> decoder, const DecompressLimits& limits)
      : inner_(inner),
        buffer_(std::move(buffer)),
        end_(head_size),
        decoder_(std::move(decoder)),
        limits_(limits) {}

  Result<size_t> read(std::span<uint8_t> out) override {
    if (failure_) return *failure_;
    // Some libraries count in 32 bits.
    out = out.first(std::min<size_t>(out.size(), 1u << 30));
    Result<size_t> n = decoder_ ? expand(out) : pass(out);
    if (n) n = check_limits(*n);
    if (!n) failure_ = n.error();
    return n;
  }

 private:
  std::span<const uint8_t> available() const { return {buffer_.get() + begin_, end_ - begin_}; }

  Result<bool> fill() {
    begin_ = end_ = 0;
    end_ = TRY(inner_.read(std::span(buffer_.get(), kInputSize)));
    return end_ > 0;
  }

  Result<size_t> pass(std::span<uint8_t> out) {
    if (available().empty()) return inner_.read(out);
    const size_t n = std::min(out.size(), available().size());
    std::memcpy(out.data(), available().data(), n);
    begin_ += n;
    return n;
  }

  // Between members: true when another one follows, false at the end of the data.
  Result<bool> next_member() {
    uint64_t zeros = 0;
    for (;;) {
      if (available().empty() && !TRY(fill())) return false;
      while (begin_ < end_ && buffer_[begin_] == 0) ++begin_, ++zeros;
      if (begin_ < end_) break;
    }
    // NULs pad the end (tapes, block devices); in xz also between two streams, by fours.
    const bool is_xz = decoder_->name() == std::string_view("xz");
    if (zeros > 0 && !(is_xz && zeros % 4 == 0)) return trailing_garbage();
    return true;
  }

  Error trailing_garbage() const {
    return Error(ErrorKind::kCorrupt,
                 std::string("unknown data follows the end of the ") + decoder_->name() + " data");
  }

  Result<size_t> expand(std::span<uint8_t> out) {
    while (!out.empty()) {
      if (!in_member_) {
        if (!first_ && !TRY(next_member())) return size_t{0};
        first_ = false;
        TRY(decoder_->restart());
        in_member_ = true;
        member_in_ = 0;
      }
      // Output may be pending in the decoder although its input is used up.
      const Decoder::Step step = TRY(run(out));
      if (step.produced > 0) return step.produced;
      if (step.at_end || step.consumed > 0) continue;
      if (!available().empty()) return damaged(*decoder_, "no progress");
      if (!TRY(fill())) return damaged(*decoder_, "it ends too early");
    }
    return size_t{0};
  }

  Result<Decoder::Step> run(std::span<uint8_t> out) {
    Result<Decoder::Step> step = decoder_->run(available(), out);
    if (!step) {
      // What cannot even start, after a complete member, is trailing garbage.
      if (members_ > 0 && member_in_ == 0 && step.error().kind() == ErrorKind::kCorrupt)
        return trailing_garbage();
      return step;
    }
    begin_ += step->consumed;
    total_in_ += step->consumed;
    member_in_ += step->consumed;
    if (step->at_end) {
      in_member_ = false;
      ++members_;
    }
    return step;
  }

  Result<size_t> check_limits(size_t produced) {
    total_out_ += produced;
    if (total_out_ > limits_.max_output_bytes)
      return Error(ErrorKind::kLimit, "the data expands to more than " +
                                          std::to_string(limits_.max_output_bytes) + " bytes");
    if (decoder_ && total_out_ > limits_.ratio_grace_bytes &&
        total_out_ / limits_.max_ratio > total_in_)
      return Error(ErrorKind::kLimit, "the " + std::string(decoder_->name()) +
                                          " data expands more than " +
                                          std::to_string(limits_.max_ratio) + " times");
    return produced;
  }

  ByteSource& inner_;
  std::unique_ptr<uint8_t[]> buffer_;
  size_t begin_ = 0;
  size_t end_ = 0;
  std::unique_ptr<Decoder> decoder_;
  DecompressLimits limits_;
  std::optional<Error> failure_;
  uint64_t total_in_ = 0;
  uint64_t total_out_ = 0;
  uint64_t members_ = 0;
  uint64_t member_in_ = 0;
  bool first_ = true;
  bool in_member_ = false;
};

}  // namespace

Compression detect_compression(std::span<const uint8_t> head) {
  const auto starts = [&](std::string_view magic, size_t at = 0) {
    return head.size() >= at + magic.size() &&
           std::memcmp(head.data() + at, magic.data(), magic.size()) == 0;
  };
  if (starts("\x1f\x8b")) return Compression::kGzip;
  if (starts("\x28\xb5\x2f\xfd")) return Compression::kZstd;
  // A skippable frame (RFC 8878, 3.1.2), which some writers put first.
  if (starts("\x2a\x4d\x18", 1) && (head[0] & 0xf0) == 0x50) return Compression::kZstd;
  if (starts(std::string_view("\xfd"
                              "7zXZ\0",
                              6)))
    return Compression::kXz;
  if (starts("BZh") && head.size() >= 4 && head[3] >= '1' && head[3] <= '9')
    return Compression::kBzip2;
  return Compression::kNone;
}

Result<OpenedStream> open_decompressed(ByteSource& inner, const DecompressLimits& limits) {
  auto head = std::make_unique_for_overwrite<uint8_t[]>(kInputSize);
  size_t size = 0;
  while (size < 6) {
    const size_t n = TRY(inner.read(std::span(head.get(), kInputSize).subspan(size)));
    if (n == 0) break;
    size += n;
  }
  OpenedStream opened;
  opened.compression = detect_compression({head.get(), size});
  opened.source = std::make_unique<ExpandedSource>(
      inner, std::move(head), size, make_decoder(opened.compression, limits), limits);
  return opened;
}

}  // namespace kasane
