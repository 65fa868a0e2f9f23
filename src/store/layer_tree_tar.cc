// Tree → tar: the canonical stream from index and contents, or, for a foreign tar, its
// other bytes (the split file) with the contents put back in between.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>

#include "base/compress.h"
#include "store/layer_internal.h"
#include "tar/path.h"
#include "tar/whiteout.h"

namespace kasane::store {
namespace {

constexpr size_t kStage = 256 * 1024;
constexpr size_t kSmallFile = 64 * 1024;

Error shrunk(std::string_view path) {
  return Error(ErrorKind::kCorrupt,
               "'" + std::string(path) + "' of an unpacked layer became shorter while it was read")
      .hint("run `kasane store check`");
}

// Receives what the writer makes; large contents pass the writer without being kept.
class StageSink final : public ByteSink {
 public:
  Result<void> write(std::span<const uint8_t> bytes) override {
    if (!pass_) text_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return {};
  }
  void set_pass(bool pass) { pass_ = pass; }
  size_t size() const { return text_.size() - taken_; }
  size_t take(std::span<uint8_t> buffer) {
    const size_t n = std::min(buffer.size(), size());
    std::memcpy(buffer.data(), text_.data() + taken_, n);
    taken_ += n;
    if (taken_ == text_.size()) {
      text_.clear();
      taken_ = 0;
    }
    return n;
  }

 private:
  std::string text_;
  size_t taken_ = 0;
  bool pass_ = false;
};

class CanonicalTarSource final : public ByteSource {
 public:
  CanonicalTarSource(std::shared_ptr<const LayerIndex> index, UniqueFd tree)
      : index_(std::move(index)), tree_(std::move(tree)), writer_(stage_) {}

  Result<size_t> read(std::span<uint8_t> buffer) override {
    if (buffer.empty()) return 0;
    for (;;) {
      if (stage_.size() > 0) return stage_.take(buffer);
      if (left_ > 0) return read_large(buffer);
      if (finished_) return 0;
      TRY(fill());
    }
  }

 private:
  // Stages headers and small files until there is enough, or a large file comes.
  Result<void> fill() {
    if (file_) {
      TRY(writer_.finish_member());
      file_.reset();
    }
    while (stage_.size() < kStage) {
      if (next_ == index_->size()) {
        finished_ = true;
        return writer_.finish();
      }
      const EntryView entry = index_->at(next_++);
      TRY(writer_.begin(entry.to_entry()));
      if (entry.type == tar::EntryType::kFile && entry.size > 0) {
        name_ = entry.path;
        file_ = TRY(open_tree_file(tree_.get(), entry.path, entry.size));
        if (entry.size > kSmallFile) {
          left_ = entry.size;
          return {};
        }
        TRY(stage_small(entry.size));
        file_.reset();
      }
      TRY(writer_.finish_member());
    }
    return {};
  }

  Result<void> stage_small(uint64_t size) {
    uint8_t buffer[kSmallFile];
    while (size > 0) {
      const size_t n = TRY(read_some(file_.get(), std::span(buffer, size), name_));
      if (n == 0) return shrunk(name_);
      TRY(writer_.write(std::span<const uint8_t>(buffer, n)));
      size -= n;
    }
    return {};
  }

  Result<size_t> read_large(std::span<uint8_t> buffer) {
    if (buffer.size() > left_) buffer = buffer.first(left_);
    const size_t n = TRY(read_some(file_.get(), buffer, name_));
    if (n == 0) return shrunk(name_);
    stage_.set_pass(true);
    TRY(writer_.write(buffer.first(n)));
    stage_.set_pass(false);
    left_ -= n;
    return n;
  }

  std::shared_ptr<const LayerIndex> index_;
  UniqueFd tree_;
  StageSink stage_;
  tar::Writer writer_;
  size_t next_ = 0;
  UniqueFd file_;  // large file being passed on
  std::string name_;
  uint64_t left_ = 0;  // of it
  bool finished_ = false;
};

// The contents that are not in the split file, in tar order.
class Gaps {
 public:
  explicit Gaps(const LayerIndex& index) : index_(index) { advance(); }
  bool done() const { return !current_; }
  const EntryView& entry() const { return *current_; }
  void advance() {
    current_.reset();
    while (next_ < index_.size() && !current_) {
      EntryView entry = index_.at(index_.tar_order(next_++));
      if (content_in_tree(entry)) current_ = std::move(entry);
    }
  }

 private:
  const LayerIndex& index_;
  size_t next_ = 0;
  std::optional<EntryView> current_;
};

DecompressLimits split_limits() {
  DecompressLimits limits;
  limits.max_ratio = UINT64_MAX;  // our own file: NUL padding compresses without bound
  return limits;
}

class SplitTarSource final : public ByteSource {
 public:
  SplitTarSource(std::shared_ptr<const LayerIndex> index, UniqueFd tree, UniqueFd split,
                 std::string split_path)
      : index_(std::move(index)),
        tree_(std::move(tree)),
        split_fd_(std::move(split)),
        split_file_(split_fd_.get(), std::move(split_path)),
        gaps_(*index_) {}

  Result<void> open() {
    split_ = TRY(open_decompressed(split_file_, split_limits()));
    return {};
  }

  Result<size_t> read(std::span<uint8_t> buffer) override {
    while (!buffer.empty()) {
      if (file_) {
        const size_t n = TRY(read_file(buffer));
        if (n > 0) return n;
        continue;
      }
      if (!gaps_.done() && offset_ == gaps_.entry().data_offset) {
        file_ = TRY(open_tree_file(tree_.get(), gaps_.entry().path, gaps_.entry().size));
        left_ = gaps_.entry().raw_size;
        continue;
      }
      if (!gaps_.done() && buffer.size() > gaps_.entry().data_offset - offset_)
        buffer = buffer.first(gaps_.entry().data_offset - offset_);
      const size_t n = TRY(split_.source->read(buffer));
      if (n == 0 && !gaps_.done())
        return Error(ErrorKind::kCorrupt, "the split file of a layer ends too early")
            .hint("run `kasane store check`");
      offset_ += n;
      return n;
    }
    return 0;
  }

 private:
  // 0: the file is done, and the gap with it.
  Result<size_t> read_file(std::span<uint8_t> buffer) {
    if (left_ == 0) {
      file_.reset();
      gaps_.advance();
      return 0;
    }
    if (buffer.size() > left_) buffer = buffer.first(left_);
    const std::string name(gaps_.entry().path);
    const size_t n = TRY(read_some(file_.get(), buffer, name));
    if (n == 0) return shrunk(name);
    left_ -= n;
    offset_ += n;
    return n;
  }

  std::shared_ptr<const LayerIndex> index_;
  UniqueFd tree_;
  UniqueFd split_fd_;
  FdSource split_file_;
  OpenedStream split_;
  Gaps gaps_;
  uint64_t offset_ = 0;
  UniqueFd file_;
  uint64_t left_ = 0;
};

Result<void> copy_range(int fd, uint64_t from, uint64_t to, const std::string& name, ByteSink& out,
                        std::span<uint8_t> buffer) {
  while (from < to) {
    const size_t want = static_cast<size_t>(std::min<uint64_t>(buffer.size(), to - from));
    const ssize_t n = ::pread(fd, buffer.data(), want, static_cast<off_t>(from));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Error::from_errno(errno, "read " + name);
    if (n == 0) return Error(ErrorKind::kCorrupt, name + " is shorter than its index says");
    TRY(out.write(std::span<const uint8_t>(buffer.data(), static_cast<size_t>(n))));
    from += static_cast<uint64_t>(n);
  }
  return {};
}

// What the split file holds: all bytes of the tar but the contents that a tree has.
Result<void> copy_outside_of_files(const LayerIndex& index, const std::string& blob_path,
                                   ByteSink& out) {
  UniqueFd blob = TRY(open_file(blob_path, O_RDONLY));
  auto buffer = std::make_unique<uint8_t[]>(kStage);
  const std::span<uint8_t> room(buffer.get(), kStage);
  uint64_t offset = 0;
  for (Gaps gaps(index); !gaps.done(); gaps.advance()) {
    TRY(copy_range(blob.get(), offset, gaps.entry().data_offset, blob_path, out, room));
    offset = gaps.entry().data_offset + gaps.entry().raw_size;
  }
  return copy_range(blob.get(), offset, index.summary().tar_size, blob_path, out, room);
}

}  // namespace

bool content_in_tree(const EntryView& entry) {
  return entry.type == tar::EntryType::kFile && entry.size > 0 && !entry.sparse &&
         entry.raw_size == entry.size &&
         !tar::base_name(entry.path).starts_with(tar::kWhiteoutPrefix);
}

Result<void> write_split(const LayerIndex& index, const std::string& blob_path,
                         const std::string& split_path) {
  UniqueFd split = TRY(open_file(split_path, O_WRONLY | O_CREAT | O_EXCL, 0644));
  FdSink file(split.get(), split_path);
  std::unique_ptr<CompressingSink> zstd = TRY(make_compressor(Compression::kZstd, file));
  TRY(copy_outside_of_files(index, blob_path, *zstd));
  TRY(zstd->finish());
  return sync_fd(split.get(), split_path);
}

Result<void> compare_split(const LayerIndex& index, const std::string& blob_path,
                           const std::string& split_path) {
  HashingSink wanted(nullptr), found(nullptr);
  TRY(copy_outside_of_files(index, blob_path, wanted));
  UniqueFd fd = TRY(open_file(split_path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW));
  FdSource file(fd.get(), split_path);
  OpenedStream split = TRY(open_decompressed(file, split_limits()));
  TRY_CONTEXT(copy_stream(*split.source, found), "read its split file");
  if (wanted.size() != found.size() || wanted.finish() != found.finish())
    return Error(ErrorKind::kCorrupt, "its split file and its tar disagree");
  return {};
}

Result<std::unique_ptr<ByteSource>> open_tree_tar(std::shared_ptr<const LayerIndex> index,
                                                  const std::string& tree_path,
                                                  const std::string& split_path) {
  UniqueFd tree = TRY(open_file(tree_path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  if (index->summary().canonical)
    return std::unique_ptr<ByteSource>(
        std::make_unique<CanonicalTarSource>(std::move(index), std::move(tree)));
  UniqueFd split = TRY(open_file(split_path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW));
  auto source = std::make_unique<SplitTarSource>(std::move(index), std::move(tree),
                                                 std::move(split), split_path);
  TRY(source->open());
  return std::unique_ptr<ByteSource>(std::move(source));
}

}  // namespace kasane::store
