#include "store/layer_contents.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "store/layer_internal.h"

namespace kasane::store {

// A part of the blob; does not own the descriptor.
class LayerContents::Range final : public ByteSource {
 public:
  Range(int fd, uint64_t offset, uint64_t size) : fd_(fd), offset_(offset), left_(size) {}
  Result<size_t> read(std::span<uint8_t> buffer) override {
    if (buffer.size() > left_) buffer = buffer.first(left_);
    if (buffer.empty()) return 0;
    ssize_t n;
    do {
      n = ::pread(fd_, buffer.data(), buffer.size(), static_cast<off_t>(offset_));
    } while (n < 0 && errno == EINTR);
    if (n < 0) return Error::from_errno(errno, "read the tar of a layer");
    offset_ += static_cast<uint64_t>(n);
    left_ -= static_cast<uint64_t>(n);
    return static_cast<size_t>(n);
  }

 private:
  int fd_;
  uint64_t offset_;
  uint64_t left_;
};

// The next `size` bytes of the stream.
class LayerContents::StreamPart final : public ByteSource {
 public:
  StreamPart(LayerContents& owner, uint64_t size) : owner_(owner), left_(size) {}
  Result<size_t> read(std::span<uint8_t> buffer) override {
    if (buffer.size() > left_) buffer = buffer.first(left_);
    if (buffer.empty()) return 0;
    const size_t n = TRY(owner_.stream_->read(buffer));
    owner_.stream_offset_ += n;
    left_ -= n;
    return n;
  }

 private:
  LayerContents& owner_;
  uint64_t left_;
};

LayerContents::~LayerContents() = default;

// A plain user reads a tree through the layer's runner, which costs a process: once for the
// whole layer here, not once per file. nullptr: the place is behind the stream's.
Result<std::unique_ptr<ByteSource>> LayerContents::open_in_stream(const EntryView& entry) {
  if (!stream_) stream_ = TRY(layer_.open_tar());
  if (entry.data_offset < stream_offset_) return std::unique_ptr<ByteSource>();
  StreamPart gap(*this, entry.data_offset - stream_offset_);
  struct NullSink final : ByteSink {
    Result<void> write(std::span<const uint8_t>) override { return {}; }
  } nowhere;
  TRY(copy_stream(gap, nowhere));
  return std::unique_ptr<ByteSource>(std::make_unique<StreamPart>(*this, entry.raw_size));
}

Result<ByteSource*> LayerContents::open(size_t i) {
  const LayerIndex& index = layer_.index();
  EntryView entry = index.at(i);
  if (entry.type == tar::EntryType::kHardlink) {
    const std::optional<size_t> target = index.find(entry.link_target);
    if (target) entry = index.at(i = *target);
  }
  current_.reset();
  TRY(layer_.bring());
  std::unique_ptr<ByteSource> inner;
  const bool plain = entry.type == tar::EntryType::kFile && entry.size > 0 && !entry.sparse;
  if (plain && !blob_ && layer_.has_blob()) {
    blob_ = TRY(open_file(layer_.blob_path(), O_RDONLY | O_NONBLOCK | O_NOFOLLOW));
    (void)::posix_fadvise(blob_.get(), 0, 0, POSIX_FADV_SEQUENTIAL);
  }
  if (plain && blob_)
    inner = std::make_unique<Range>(blob_.get(), entry.data_offset, entry.raw_size);
  else if (plain && ::geteuid() != 0 && index.summary().canonical)
    inner = TRY(open_in_stream(entry));
  if (inner)
    current_ = verified_source(std::move(inner), entry.content, entry.size,
                               "'" + std::string(entry.path) + "' in " +
                                   layer_name(layer_.diff_id()));
  else
    current_ = TRY(layer_.open_content(i));
  return current_.get();
}

}  // namespace kasane::store
