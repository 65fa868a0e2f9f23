#include "base/compress.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include "base/process.h"

namespace kasane {
namespace {

constexpr Compression kAll[] = {Compression::kNone, Compression::kGzip, Compression::kZstd,
                                Compression::kXz, Compression::kBzip2};
constexpr Compression kReal[] = {Compression::kGzip, Compression::kZstd, Compression::kXz,
                                 Compression::kBzip2};

std::span<const uint8_t> bytes_of(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// Text and noise, the same every time.
std::string sample(size_t size) {
  std::string text;
  uint32_t state = 1;
  while (text.size() < size) {
    state = state * 1664525 + 1013904223;
    if (state >> 28 == 0)
      text += static_cast<char>(state >> 16);
    else
      text += "the quick brown fox "[state >> 27 & 15];
  }
  return text;
}

std::string compress(Compression kind, std::string_view text, int level = -1,
                     size_t piece = 1 << 20) {
  StringSink out;
  // xz's usual level takes 94 MiB, which is slow to get under sanitizers.
  if (kind == Compression::kXz && level == -1) level = 0;
  std::unique_ptr<CompressingSink> sink = make_compressor(kind, out, level).take();
  for (size_t at = 0; at < text.size(); at += piece)
    EXPECT_TRUE(sink->write(bytes_of(text.substr(at, piece))));
  EXPECT_TRUE(sink->finish());
  return out.text;
}

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

Result<std::string> expand(std::string_view bytes, const DecompressLimits& limits = {},
                           size_t in_piece = 1 << 20, size_t out_piece = 65536) {
  PieceSource source(bytes, in_piece);
  OpenedStream opened = TRY(open_decompressed(source, limits));
  std::vector<uint8_t> buffer(out_piece);
  std::string text;
  for (;;) {
    const size_t n = TRY(opened.source->read(buffer));
    if (n == 0) return text;
    text.append(reinterpret_cast<char*>(buffer.data()), n);
  }
}

// Not EXPECT_EQ: nobody can read the diff of binary data.
bool gives(std::string_view expected, std::string_view packed, size_t in_piece = 1 << 20,
           size_t out_piece = 65536) {
  Result<std::string> text = expand(packed, {}, in_piece, out_piece);
  EXPECT_TRUE(text) << text.error().full_message();
  return text && *text == expected;
}

ErrorKind kind_of(const Result<std::string>& result) {
  EXPECT_FALSE(result);
  return result ? ErrorKind::kInternal : result.error().kind();
}

TEST(Compress, RoundTripAtAnySplit) {
  const std::string text = sample(140'000);
  for (Compression kind : kAll) {
    const std::string packed = compress(kind, text);
    for (size_t piece : {1000, 131072})
      EXPECT_TRUE(packed == compress(kind, text, -1, piece)) << "pieces must not change the bytes";
    EXPECT_EQ(detect_compression(bytes_of(packed)), kind);
    EXPECT_TRUE(gives(text, packed));
    EXPECT_TRUE(gives(text, packed, 1));
    EXPECT_TRUE(gives(text, packed, 777, 3));
  }
}

TEST(Compress, EmptyInput) {
  for (Compression kind : kAll) {
    const std::string packed = compress(kind, "");
    EXPECT_EQ(packed.empty(), kind == Compression::kNone);
    EXPECT_TRUE(gives("", packed));
  }
}

TEST(Compress, GzipHeaderHoldsNoNameAndNoTime) {
  for (int level : {1, 3, 6, 9}) {
    const std::string packed = compress(Compression::kGzip, "x", level);
    EXPECT_EQ(packed.substr(0, 8), std::string("\x1f\x8b\x08\0\0\0\0\0", 8)) << level;
  }
}

TEST(Compress, EveryLevel) {
  const std::string text = sample(50'000);
  for (int level = 0; level <= 9; ++level)
    EXPECT_TRUE(gives(text, compress(Compression::kGzip, text, level))) << level;
  StringSink out;
  EXPECT_EQ(make_compressor(Compression::kGzip, out, 10).error().kind(), ErrorKind::kInvalid);
  EXPECT_EQ(make_compressor(Compression::kZstd, out, 23).error().kind(), ErrorKind::kInvalid);
}

TEST(Decompress, ConcatenatedMembers) {
  const std::string a = sample(70'000);
  for (Compression kind : kReal) {
    const std::string packed = compress(kind, a) + compress(kind, "") + compress(kind, "tail");
    for (size_t piece : {1, 4096, 1 << 20}) EXPECT_TRUE(gives(a + "tail", packed, piece));
  }
}

TEST(Decompress, NulsMayFollowNothingElseMay) {
  for (Compression kind : kReal) {
    const std::string packed = compress(kind, "hello");
    EXPECT_TRUE(gives("hello", packed + std::string(700'001, '\0')));
    EXPECT_EQ(kind_of(expand(packed + "x")), ErrorKind::kCorrupt);
    EXPECT_EQ(kind_of(expand(packed + "garbage that is longer than a header")),
              ErrorKind::kCorrupt);
    EXPECT_EQ(kind_of(expand(packed + std::string(700'001, '\0') + "x")), ErrorKind::kCorrupt);
  }
  const std::string gzip = compress(Compression::kGzip, "a");
  EXPECT_EQ(kind_of(expand(gzip + '\0' + gzip)), ErrorKind::kCorrupt);
}

TEST(Decompress, TruncationIsCorrupt) {
  const std::string text = sample(1000);
  for (Compression kind : kReal) {
    const std::string packed = compress(kind, text);
    for (size_t size = 6; size < packed.size(); size += size + 24 < packed.size() ? 19 : 1)
      EXPECT_EQ(kind_of(expand(packed.substr(0, size))), ErrorKind::kCorrupt) << size;
  }
}

TEST(Decompress, DamageIsCorrupt) {
  const std::string text = sample(5000);
  for (Compression kind : kReal) {
    std::string packed = compress(kind, text);
    packed[packed.size() / 2] ^= 0x10;
    EXPECT_EQ(kind_of(expand(packed)), ErrorKind::kCorrupt);
  }
  std::string gzip = compress(Compression::kGzip, text);
  gzip[gzip.size() - 8] ^= 1;  // CRC
  EXPECT_EQ(kind_of(expand(gzip)), ErrorKind::kCorrupt);
  gzip[gzip.size() - 8] ^= 1;
  gzip[gzip.size() - 1] ^= 1;  // length
  EXPECT_EQ(kind_of(expand(gzip)), ErrorKind::kCorrupt);
}

// X13
TEST(Decompress, Bombs) {
  const std::string zeros(2 << 20, '\0');
  DecompressLimits size_limit;
  size_limit.max_output_bytes = 1 << 20;
  DecompressLimits ratio_limit;
  ratio_limit.ratio_grace_bytes = 1 << 20;
  ratio_limit.max_ratio = 100;
  for (Compression kind : kAll) {
    const std::string packed = compress(kind, zeros);
    EXPECT_EQ(kind_of(expand(packed, size_limit)), ErrorKind::kLimit);
    if (kind == Compression::kNone) {
      EXPECT_EQ(expand(packed, ratio_limit)->size(), zeros.size());
    } else {
      EXPECT_EQ(kind_of(expand(packed, ratio_limit)), ErrorKind::kLimit);
    }
  }
}

TEST(Decompress, MemoryLimit) {
  DecompressLimits limits;
  limits.max_memory_bytes = 1 << 20;
  EXPECT_EQ(kind_of(expand(compress(Compression::kXz, "abc", 6), limits)), ErrorKind::kLimit);
  // RFC 8878: magic, frame header without content size, window descriptor, one raw block.
  auto with_window = [&](int log) {
    std::string frame(
        "\x28\xb5\x2f\xfd\x00\x00\x19\x00\x00"
        "abc",
        12);
    frame[5] = static_cast<char>((log - 10) << 3);
    return frame;
  };
  EXPECT_EQ(expand(with_window(27)).value(), "abc");
  EXPECT_EQ(kind_of(expand(with_window(28))), ErrorKind::kLimit);
  EXPECT_EQ(kind_of(expand(with_window(31))), ErrorKind::kLimit);
}

TEST(Decompress, ManyEmptyMembersEnd) {
  std::string packed;
  const std::string one = compress(Compression::kGzip, "");
  for (int i = 0; i < 20'000; ++i) packed += one;
  EXPECT_EQ(expand(packed).value(), "");
}

TEST(Decompress, SkippableZstdFrames) {
  const std::string skip("\x50\x2a\x4d\x18\x04\0\0\0abcd", 12);
  const std::string frame = compress(Compression::kZstd, "hello");
  EXPECT_EQ(expand(skip + frame + skip).value(), "hello");
}

TEST(Decompress, GzipHeaderFields) {
  // Written by zlib with name, comment, extra field and header checksum (RFC 1952).
  z_stream stream{};
  ASSERT_EQ(deflateInit2(&stream, 9, Z_DEFLATED, 31, 8, 0), Z_OK);
  gz_header header{};
  uint8_t name[] = "name", comment[] = "comment", extra[] = "extra";
  header.name = name;
  header.comment = comment;
  header.extra = extra;
  header.extra_len = 5;
  header.hcrc = 1;
  header.time = 12345;
  deflateSetHeader(&stream, &header);
  std::string text = sample(1000), packed(2000, '\0');
  stream.next_in = reinterpret_cast<uint8_t*>(text.data());
  stream.avail_in = 1000;
  stream.next_out = reinterpret_cast<uint8_t*>(packed.data());
  stream.avail_out = 2000;
  ASSERT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  for (size_t piece : {1, 5, 4096})
    EXPECT_TRUE(gives(text.substr(0, 1000), packed, piece)) << piece;
}

TEST(Compress, OtherToolsReadIt) {
  TempDir dir = TempDir::make().take();
  const std::string text = sample(200'000);
  ASSERT_TRUE(replace_file(dir.path() + "/plain", text));
  const std::tuple<Compression, const char*, int> tools[] = {{Compression::kGzip, "gzip", 1},
                                                             {Compression::kGzip, "gzip", 6},
                                                             {Compression::kZstd, "zstd", -1},
                                                             {Compression::kXz, "xz", -1},
                                                             {Compression::kBzip2, "bzip2", -1}};
  for (const auto& [kind, tool, level] : tools) {
    const std::string path = dir.path() + "/packed";
    ASSERT_TRUE(replace_file(path, compress(kind, text, level)));
    Result<ProcessOutput> run = run_process({tool, "-dc", path});
    if (!run) GTEST_SKIP() << tool << " is not installed";
    if (run->exit_status == 1 && run->err.find("suffix") != std::string::npos) {
      run = run_process({"sh", "-c", std::string(tool) + " -dc <" + path});
    }
    EXPECT_EQ(run->exit_status, 0) << tool << run->err;
    EXPECT_TRUE(run->out == text) << tool;
    run = run_process({tool, "-c", dir.path() + "/plain"});
    EXPECT_TRUE(gives(text, run->out)) << tool;
  }
}

}  // namespace
}  // namespace kasane
