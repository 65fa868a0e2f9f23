#include "transfer/compressed_layer.h"

#include <fcntl.h>

#include <array>

#include "store/layer_blobs.h"
#include "transfer/export_internal.h"

namespace kasane::transfer {
namespace {

class FileGrower final : public ByteSink {
 public:
  FileGrower(store::GrowingFile& file, std::stop_token stop) : file_(file), stop_(std::move(stop)) {}
  Result<void> write(std::span<const uint8_t> bytes) override {
    if (stop_.stop_requested()) return cancelled();
    return file_.append(bytes);
  }

 private:
  store::GrowingFile& file_;
  std::stop_token stop_;
};

}  // namespace

std::string LayerForm::text() const {
  return std::to_string(static_cast<int>(compression)) + "|" + std::to_string(level.value_or(-1)) + "|" + KASANE_VERSION;
}

Result<std::unique_ptr<CompressedLayer>> CompressedLayer::start(
    store::Store& store, store::LayerPtr layer, const LayerForm& form, Hooks hooks) {
  store::Store::Ingest ingest = TRY(store.new_ingest());
  const std::string path = ingest.path() + "/blob";
  UniqueFd fd = TRY(open_file(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  std::unique_ptr<CompressedLayer> out(new CompressedLayer(store, std::move(layer), std::move(ingest)));
  out->file_.attach(std::move(fd), path, 0);
  out->hooks_ = std::move(hooks);
  out->thread_ = std::thread([raw = out.get(), form] { raw->work(form); });
  return out;
}

CompressedLayer::~CompressedLayer() {
  stop_.request_stop();
  if (thread_.joinable()) thread_.join();
}

// The tar's bytes pass once: body → compressor → digest → file.
Result<registry::BlobEnd> CompressedLayer::compress(const LayerForm& form) {
  FileGrower file(file_, stop_.get_token());
  HashingSink hash(&file);
  std::unique_ptr<CompressingSink> compressor =
      TRY(make_compressor(form.compression, hash, form.level.value_or(-1)));
  std::unique_ptr<ByteSource> tar = TRY(layer_->open_tar());  // checks the DiffID
  TRY(copy_stream(*tar, *compressor));
  TRY(compressor->finish());
  return registry::BlobEnd{hash.finish(), hash.size()};
}

void CompressedLayer::work(const LayerForm& form) {
  Result<registry::BlobEnd> done = compress(form);
  if (done && hooks_.before_end) hooks_.before_end(*done);
  {
    const std::lock_guard lock(mutex_);
    if (done)
      end_ = *done;
    else
      error_ = done.error();
  }
  changed_.notify_all();
  // Readers learn of the end after those who ask for it.
  done ? file_.set_size(done->size) : file_.fail(done.error());
  if (!done) return;
  if (hooks_.after_end) hooks_.after_end(*done);
  // On disk while the last bytes are still on their way.
  Result<void> kept = store::keep_blob_file(store_, file_.path(), done->digest);
  if (kept) return;
  const std::lock_guard lock(mutex_);
  error_ = std::move(kept.error());
}

Result<std::unique_ptr<ByteSource>> CompressedLayer::open(uint64_t offset) { return file_.reader(offset); }

std::optional<registry::BlobEnd> CompressedLayer::end_if_known() {
  const std::lock_guard lock(mutex_);
  return end_;
}

Result<registry::BlobEnd> CompressedLayer::end() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return end_ || error_; });
  if (!end_) return *error_;
  return *end_;
}

Result<registry::BlobEnd> CompressedLayer::keep() {
  if (thread_.joinable()) thread_.join();
  const std::lock_guard lock(mutex_);
  if (error_) return *error_;
  return *end_;
}

}  // namespace kasane::transfer
