#include "transfer/layer_export.h"

#include <fcntl.h>

#include <algorithm>
#include <mutex>
#include <thread>

#include "base/thread_pool.h"
#include "store/layer_blobs.h"

namespace kasane::transfer {
namespace {

constexpr uint64_t kSmallLayers = 4u << 20;  // together: not worth a thread

constexpr std::string_view kDockerLayer = "application/vnd.docker.image.rootfs.diff.tar";
constexpr std::string_view kDockerLayerZstd =
    "application/vnd.docker.image.rootfs.diff.tar.zstd";  // of others; kasane never writes it
constexpr std::string_view kDockerLayerGzip = "application/vnd.docker.image.rootfs.diff.tar.gzip";

class OwningFileSource final : public ByteSource {
 public:
  OwningFileSource(UniqueFd fd, std::string name)
      : fd_(std::move(fd)), source_(fd_.get(), std::move(name)) {}
  Result<size_t> read(std::span<uint8_t> buffer) override { return source_.read(buffer); }

 private:
  UniqueFd fd_;
  FdSource source_;
};

// The tar's bytes pass once: body → compressor → digest → file.
Result<OutputBlob> compress_layer(const ExportJob& job, const store::Layer& layer,
                                  const std::string& path) {
  OutputBlob blob;
  blob.media_type = layer_media_type(job.options.compression, job.options.oci_media_types);
  blob.file = path;
  blob.owned = true;
  UniqueFd fd = TRY(open_file(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0644));
  OutputSink file(fd.get(), path, job.stop);
  HashingSink hash(&file);
  std::unique_ptr<CompressingSink> compressor =
      TRY(make_compressor(job.options.compression, hash, job.options.level.value_or(-1)));
  std::unique_ptr<ByteSource> tar = TRY(layer.open_tar());  // checks the DiffID
  TRY(copy_stream(*tar, *compressor));
  TRY(compressor->finish());
  TRY(file.flush());
  blob.size = hash.size();
  blob.digest = hash.finish();
  return blob;
}

// What needs no work: compressed bytes that came with an image, or the tar itself.
Result<std::optional<OutputBlob>> ready_blob(const ExportJob& job, const store::LayerPtr& layer) {
  const ExportOptions& options = job.options;
  OutputBlob blob;
  if (std::optional<store::LayerBlob> found =
          TRY(store::find_layer_blob(job.store, layer->diff_id()))) {
    const std::optional<Compression> kind = compression_of(found->media_type);
    const bool has_type = kind && (options.oci_media_types || *kind != Compression::kZstd);
    if (has_type && (!options.force_compression || *kind == options.compression)) {
      blob.digest = found->digest;
      blob.size = found->size;
      blob.media_type = layer_media_type(*kind, options.oci_media_types);
      blob.file = std::move(found->path);
      return std::optional<OutputBlob>(std::move(blob));
    }
  }
  if (options.compression != Compression::kNone) return std::optional<OutputBlob>();
  blob.digest = layer->diff_id();
  blob.size = layer->index().summary().tar_size;
  blob.media_type = layer_media_type(Compression::kNone, options.oci_media_types);
  blob.layer = layer;
  return std::optional<OutputBlob>(std::move(blob));
}

// The first error wins; the others stop at their next layer.
class Progress {
 public:
  Progress(Span& span, uint64_t total) : span_(span), total_(total) {}
  bool failed() {
    std::lock_guard lock(mutex_);
    return error_.has_value();
  }
  void fail(Error error) {
    std::lock_guard lock(mutex_);
    if (!error_) error_ = std::move(error);
  }
  void add(uint64_t bytes) {
    std::lock_guard lock(mutex_);
    span_.progress(done_ += bytes, total_);
  }
  std::optional<Error> error() {
    std::lock_guard lock(mutex_);
    return error_;
  }

 private:
  std::mutex mutex_;
  Span& span_;
  uint64_t total_;
  uint64_t done_ = 0;
  std::optional<Error> error_;
};

}  // namespace

std::string_view layer_media_type(Compression compression, bool oci_types) {
  switch (compression) {
    case Compression::kGzip:
      return oci_types ? oci::kMediaTypeLayerGzip : kDockerLayerGzip;
    case Compression::kZstd:
      return oci::kMediaTypeLayerZstd;  // docker has no type of its own
    default:
      return oci_types ? oci::kMediaTypeLayer : kDockerLayer;
  }
}

std::optional<Compression> compression_of(std::string_view media_type) {
  for (Compression kind : {Compression::kNone, Compression::kGzip, Compression::kZstd})
    if (media_type == layer_media_type(kind, true) || media_type == layer_media_type(kind, false) ||
        (kind == Compression::kZstd && media_type == kDockerLayerZstd))
      return kind;
  return std::nullopt;
}

Result<std::unique_ptr<ByteSource>> OutputBlob::open() const {
  if (layer) return layer->open_tar();
  if (file.empty()) return std::unique_ptr<ByteSource>(std::make_unique<MemorySource>(text));
  UniqueFd fd = TRY(open_file(file, O_RDONLY | O_NONBLOCK | O_NOFOLLOW));
  return std::unique_ptr<ByteSource>(std::make_unique<OwningFileSource>(std::move(fd), file));
}

Result<std::map<Sha256Digest, OutputBlob>> make_layer_blobs(const ExportJob& job,
                                                            const std::string& spool) {
  std::map<Sha256Digest, OutputBlob> blobs;
  std::vector<store::LayerPtr> work;
  uint64_t total = 0;
  for (const BuiltPlatform& built : job.built)
    for (const Sha256Digest& diff_id : built.diff_ids) {
      if (!blobs.try_emplace(diff_id).second) continue;
      store::LayerPtr layer = TRY(store::open_layer(job.store, diff_id));
      if (std::optional<OutputBlob> ready = TRY(ready_blob(job, layer))) {
        blobs[diff_id] = std::move(*ready);
        continue;
      }
      total += layer->index().summary().tar_size;
      work.push_back(std::move(layer));
    }
  Span span(job.events, "exporting layers", job.span);
  Progress progress(span, total);
  const auto run = [&](const store::LayerPtr& layer) {
    if (progress.failed()) return;
    Result<OutputBlob> made =
        compress_layer(job, *layer, spool + "/" + layer->diff_id().hex() + ".layer");
    if (!made) return progress.fail(std::move(made.error()));
    blobs.find(layer->diff_id())->second = std::move(*made);  // its own element: no race
    progress.add(layer->index().summary().tar_size);
  };
  const unsigned processors = std::max(1u, std::thread::hardware_concurrency());
  if (work.size() < 2 || total < kSmallLayers) {
    for (const store::LayerPtr& layer : work) run(layer);
  } else {
    // Large ones first, so that none is left alone at the end.
    std::stable_sort(work.begin(), work.end(), [](const auto& a, const auto& b) {
      return a->index().summary().tar_size > b->index().summary().tar_size;
    });
    ThreadPool pool(std::min<unsigned>(processors, static_cast<unsigned>(work.size())));
    for (const store::LayerPtr& layer : work) pool.submit([&run, &layer] { run(layer); });
  }
  if (std::optional<Error> error = progress.error()) {
    span.fail(*error);
    return std::move(*error);
  }
  span.done();
  return blobs;
}

}  // namespace kasane::transfer
