// Foreign tars: stored as they came, indexed as they are understood.
#include <fcntl.h>

#include <cstring>

#include "store/layer_internal.h"
#include "tar/reader.h"
#include "tar/whiteout.h"

namespace kasane::store {
namespace {

// Everything that the reader takes from the tar also goes to the blob.
class TeeSource final : public ByteSource {
 public:
  TeeSource(ByteSource& inner, ByteSink& copy, uint64_t max_bytes)
      : inner_(inner), copy_(copy), left_(max_bytes), max_(max_bytes) {}
  Result<size_t> read(std::span<uint8_t> buffer) override {
    const size_t n = TRY(inner_.read(buffer));
    if (n > left_)
      return Error(ErrorKind::kLimit,
                   "the layer is larger than " + std::to_string(max_) + " bytes");
    left_ -= n;
    TRY(copy_.write(buffer.first(n)));
    return n;
  }

 private:
  ByteSource& inner_;
  ByteSink& copy_;
  uint64_t left_;
  uint64_t max_;
};

// Finds out whether the canonical writer gives exactly this tar, by comparing all bytes
// that are not content as they come: `actual` from the reader's skeleton, `expected` from
// a writer that is fed the same entries. Neither grows beyond a few headers.
class CanonicalCheck {
 public:
  CanonicalCheck() : actual_(*this), expected_(*this), writer_(expected_) {}
  ByteSink& skeleton() { return actual_; }
  void fail() { alive_ = false; }

  void begin(const tar::Entry& entry) {
    if (alive_ && !writer_.begin(entry)) fail();
    compare();
  }
  void content(std::span<const uint8_t> bytes) {
    if (!alive_) return;
    expected_.in_content = true;
    if (!writer_.write(bytes)) fail();
    expected_.in_content = false;
  }
  void end_member() {
    if (alive_ && !writer_.finish_member()) fail();
    compare();
  }
  bool finish() {
    if (alive_ && !writer_.finish()) fail();
    compare();
    return alive_ && actual_.text.empty() && expected_.text.empty();
  }

 private:
  struct Side final : ByteSink {
    explicit Side(CanonicalCheck& check) : owner(check) {}
    Result<void> write(std::span<const uint8_t> bytes) override {
      if (owner.alive_ && !in_content)
        text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
      return {};
    }
    CanonicalCheck& owner;
    std::string text;
    bool in_content = false;
  };
  void compare() {
    const size_t n = std::min(actual_.text.size(), expected_.text.size());
    if (std::memcmp(actual_.text.data(), expected_.text.data(), n) != 0) fail();
    actual_.text.erase(0, n);
    expected_.text.erase(0, n);
    // A canonical tar leaves at most the padding of one member behind.
    if (actual_.text.size() > 1u << 20) fail();
    if (!alive_) {
      actual_.text.clear();
      expected_.text.clear();
    }
  }

  bool alive_ = true;
  Side actual_;
  Side expected_;
  tar::Writer writer_;
};

class Importer {
 public:
  Importer(ByteSource& tar, BlockSink& blob, uint64_t max_bytes)
      : tee_(tar, blob, max_bytes), reader_(tee_, {}, &check_.skeleton()) {}

  Result<void> run() {
    for (;;) {
      std::optional<tar::Member> member = TRY(reader_.next());
      if (!member) break;
      TRY(take(std::move(*member)));
    }
    canonical_ = check_.finish() && !altered_;
    return {};
  }
  LayerIndexBuilder& index() { return index_; }
  bool canonical() const { return canonical_; }

 private:
  Result<void> take(tar::Member member) {
    tar::Entry& entry = member.entry;
    check_.begin(entry);
    const tar::Whiteout whiteout = TRY(tar::classify_whiteout(entry));
    const bool ignored = whiteout.kind == tar::WhiteoutKind::kIgnored ||
                         // Would become a whiteout when unpacked (X8); it is of no other use.
                         tar::is_overlay_whiteout(entry);
    IndexedEntry indexed;
    if (whiteout.kind == tar::WhiteoutKind::kNone)
      indexed.content = TRY(read_content(member));
    else
      make_plain_whiteout(member);
    check_.end_member();
    drop_overlay_xattrs(entry);
    if (ignored) {
      altered_ = true;
      return {};
    }
    indexed.entry = std::move(entry);
    indexed.header_offset = member.header_offset;
    indexed.data_offset = member.data_offset;
    indexed.raw_size = member.raw_size;
    indexed.sparse = member.sparse;
    index_.add(std::move(indexed));
    return {};
  }

  Result<Sha256Digest> read_content(const tar::Member& member) {
    if (member.entry.type != tar::EntryType::kFile || member.entry.size == 0) return Sha256Digest{};
    Sha256 hash;
    for (;;) {
      const size_t n = TRY(reader_.read(std::span(buffer_.get(), kBufferSize)));
      if (n == 0) return hash.finish();
      const std::span<const uint8_t> bytes(buffer_.get(), n);
      hash.update(bytes);
      if (!member.sparse) check_.content(bytes);
    }
  }

  // The content of a whiteout means nothing (X7), and aufs made them as hard links.
  void make_plain_whiteout(tar::Member& member) {
    if (member.raw_size == 0 && !member.sparse && member.entry.type == tar::EntryType::kFile)
      return;
    altered_ = true;
    member.entry.type = tar::EntryType::kFile;
    member.entry.link_target.clear();
    member.entry.size = 0;
    member.raw_size = 0;
    member.sparse = false;
  }

  void drop_overlay_xattrs(tar::Entry& entry) {
    const size_t erased = std::erase_if(
        entry.xattrs, [](const tar::Xattr& xattr) { return tar::is_overlay_xattr(xattr.name); });
    altered_ |= erased > 0;
  }

  static constexpr size_t kBufferSize = 256 * 1024;
  CanonicalCheck check_;
  TeeSource tee_;
  tar::Reader reader_;
  LayerIndexBuilder index_;
  std::unique_ptr<uint8_t[]> buffer_{new uint8_t[kBufferSize]};
  bool altered_ = false;  // the index says something else than the tar's headers
  bool canonical_ = false;
};

}  // namespace

Result<LayerSummary> import_tar(const std::string& directory, ByteSource& tar,
                                const ImportOptions& options) {
  const std::string blob_path = directory + "/blob";
  UniqueFd blob = TRY(open_file(blob_path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0644));
  BlockSink sink(blob.get(), blob_path);
  Importer importer(tar, sink, options.max_tar_bytes);
  TRY(importer.run());
  const BlockSink::Totals totals = TRY(sink.finish());
  if (options.expected_diff_id && *options.expected_diff_id != totals.digest)
    return Error(ErrorKind::kCorrupt, "the layer's tar has the digest " + totals.digest.str() +
                                          " instead of " + options.expected_diff_id->str())
        .hint("fetch the image again; if it stays so, its source is damaged");
  const std::string index_path = directory + "/index";
  const LayerSummary summary = TRY(
      importer.index().write(index_path, totals.digest, totals.size, importer.canonical(), true));
  if (!summary.canonical) {
    std::shared_ptr<const LayerIndex> index = TRY(LayerIndex::open(index_path));
    TRY(write_split(*index, blob_path, directory + "/split"));
  }
  TRY(sync_fd(blob.get(), blob_path));
  return summary;
}

Result<LayerPtr> import_layer(Store& store, ByteSource& tar, const ImportOptions& options) {
  TRY(store.hold());
  Store::Ingest ingest = TRY(store.new_ingest());
  const std::string directory = ingest.path() + "/layer";
  TRY(make_directories(directory, 0700));
  const LayerSummary summary = TRY_CONTEXT(import_tar(directory, tar, options), "import layer");
  return commit_layer(store, directory, summary);
}

}  // namespace kasane::store
