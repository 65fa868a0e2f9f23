#include "transfer/push.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <set>

#include "base/thread_pool.h"
#include "oci/digest.h"
#include "oci/image_config.h"
#include "oci/manifest.h"
#include "store/layer.h"
#include "store/layer_blobs.h"

namespace kasane::transfer {
namespace {

constexpr size_t kMaxMounts = 3;

std::string short_id(const Sha256Digest& digest) { return digest.hex().substr(0, 12); }

bool is_foreign(const oci::Descriptor& layer) {
  return layer.media_type.find(".nondistributable.") != std::string::npos ||
         layer.media_type.find(".foreign.") != std::string::npos;
}

class FileUpload final : public registry::UploadSource {
 public:
  explicit FileUpload(std::string path) : path_(std::move(path)) {}
  Result<std::unique_ptr<ByteSource>> open(uint64_t offset) override {
    fd_ = TRY(open_file(path_, O_RDONLY | O_NOFOLLOW));
    if (::lseek(fd_.get(), static_cast<off_t>(offset), SEEK_SET) < 0)
      return Error::from_errno(errno, "seek " + path_);
    return std::unique_ptr<ByteSource>(std::make_unique<FdSource>(fd_.get(), path_));
  }

 private:
  std::string path_;
  UniqueFd fd_;
};

class TextUpload final : public registry::UploadSource {
 public:
  explicit TextUpload(std::string_view text) : text_(text) {}
  Result<std::unique_ptr<ByteSource>> open(uint64_t offset) override {
    return std::unique_ptr<ByteSource>(std::make_unique<MemorySource>(text_.substr(offset)));
  }

 private:
  std::string_view text_;
};

std::string_view layer_type(Compression kind) {
  if (kind == Compression::kZstd) return oci::kMediaTypeLayerZstd;
  return kind == Compression::kNone ? oci::kMediaTypeLayer : oci::kMediaTypeLayerGzip;
}

}  // namespace

std::unique_ptr<registry::UploadSource> file_upload(std::string path) {
  return std::make_unique<FileUpload>(std::move(path));
}
std::unique_ptr<registry::UploadSource> text_upload(std::string_view bytes) {
  return std::make_unique<TextUpload>(bytes);
}

// Compressed at most once in the life of the store.
Result<oci::Descriptor> layer_blob(store::Store& store, const Sha256Digest& diff_id, const PushOptions& options) {
  oci::Descriptor out;
  if (std::optional<store::LayerBlob> found = TRY(store::find_layer_blob(store, diff_id))) {
    out.media_type = found->media_type;
    // In a manifest of ours, docker's names would be strangers.
    if (out.media_type.ends_with("diff.tar.gzip")) out.media_type = oci::kMediaTypeLayerGzip;
    if (out.media_type.ends_with("diff.tar")) out.media_type = oci::kMediaTypeLayer;
    if (out.media_type.ends_with("diff.tar.zstd")) out.media_type = oci::kMediaTypeLayerZstd;
    out.digest = found->digest.str();
    out.size = static_cast<int64_t>(found->size);
    return out;
  }
  if (options.ready_blob)
    if (std::optional<oci::Descriptor> ready = TRY(options.ready_blob(diff_id))) return std::move(*ready);
  store::LayerPtr layer = TRY(store::open_layer(store, diff_id));
  store::Store::Ingest ingest = TRY(store.new_ingest());
  const std::string path = ingest.path() + "/blob";
  UniqueFd fd = TRY(open_file(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  FdSink file(fd.get(), path);
  HashingSink hash(&file);
  std::unique_ptr<CompressingSink> compressor =
      TRY(make_compressor(options.compression, hash, options.level.value_or(-1)));
  std::unique_ptr<ByteSource> tar = TRY(layer->open_tar());  // checks the DiffID
  TRY(copy_stream(*tar, *compressor));
  TRY(compressor->finish());
  out.size = static_cast<int64_t>(hash.size());
  const Sha256Digest digest = hash.finish();
  TRY(store::keep_blob_file(store, path, digest));
  out.media_type = layer_type(options.compression);
  out.digest = digest.str();
  return out;
}

namespace {

// One image on its way.
struct Outgoing {
  Sha256Digest id;
  oci::Platform platform;
  std::string config_json;
  std::vector<Sha256Digest> diff_ids;
  oci::Manifest manifest;    // its layers are filled in as they are made
  std::string manifest_json;
  bool kept = false;         // the manifest came with the image
};

Result<Outgoing> read_image(store::Store& store, const Sha256Digest& id) {
  Outgoing out;
  out.id = id;
  out.config_json = TRY(store.image_config(id));
  const oci::ImageConfig config = TRY(oci::ImageConfig::parse(out.config_json));
  out.platform = oci::Platform{config.os, config.architecture, config.variant, config.os_version}.normalized();
  out.diff_ids = config.diff_ids;
  if (std::optional<std::string> manifest = TRY(store.image_manifest(id))) {
    oci::Manifest parsed = TRY(oci::Manifest::parse(*manifest));
    out.kept = parsed.layers.size() == out.diff_ids.size();
    // Archives come with a manifest but leave no compressed layers behind.
    for (const oci::Descriptor& layer : parsed.layers) {
      const auto digest = Sha256Digest::parse(layer.digest);
      out.kept = out.kept && (is_foreign(layer) || (digest && store.has_blob(*digest)));
    }
    if (out.kept) {
      out.manifest = std::move(parsed);
      out.manifest_json = std::move(*manifest);
      return out;
    }
  }
  out.manifest.media_type = oci::kMediaTypeManifest;
  out.manifest.config.media_type = oci::kMediaTypeConfig;
  out.manifest.config.digest = id.str();
  out.manifest.config.size = static_cast<int64_t>(out.config_json.size());
  out.manifest.layers.resize(out.diff_ids.size());
  return out;
}

// Repositories of the same registry that had a layer when this store last met them.
std::map<Sha256Digest, std::vector<std::string>> neighbours(store::Store& store, const oci::Reference& target) {
  std::map<Sha256Digest, std::vector<std::string>> out;
  Result<std::vector<store::ImageRow>> rows = store.list_images();
  if (!rows) return out;
  for (const store::ImageRow& row : *rows) {
    std::set<std::string> names;
    for (const std::string& digest : row.digests) {
      Result<oci::Reference> reference = oci::Reference::parse(digest);
      if (reference && reference->domain == target.domain && reference->repository != target.repository)
        names.insert(reference->repository);
    }
    if (names.empty()) continue;
    Result<std::vector<Sha256Digest>> layers = store.image_layers(row.id);
    if (!layers) continue;
    for (const Sha256Digest& layer : *layers)
      for (const std::string& name : names)
        if (std::vector<std::string>& list = out[layer]; list.size() < kMaxMounts) list.push_back(name);
  }
  return out;
}

class Push {
 public:
  Push(store::Store& store, registry::Pusher& pusher, const oci::Reference& reference, const PushOptions& options,
       const PushEvents& events, const std::stop_token& stop)
      : store_(store),
        pusher_(pusher),
        reference_(reference),
        options_(options),
        events_(events),
        forward_(stop, [this] { stop_.request_stop(); }) {}

  Result<Pushed> run(std::vector<Outgoing> images, bool as_index) {
    // One question when there is nothing to do.
    if (const Outgoing& image = images.front(); !as_index && image.kept) {
      const Pushed out{sha256(image.manifest_json), image.manifest_json.size(), image.manifest.media_type};
      if (TRY(pusher_.has_manifest(reference_.tag, out.digest, stop_.get_token()))) {
        for (size_t i = image.diff_ids.size(); i-- > 0;) tell(image.diff_ids[i], "Layer already exists");
        return out;
      }
    }
    TRY(send_blobs(images));
    for (Outgoing& image : images) TRY(finish_manifest(image));
    if (!as_index) {
      const Outgoing& image = images.front();
      return name(image.manifest.media_type, image.manifest_json);
    }
    oci::Index index;
    index.media_type = oci::kMediaTypeIndex;
    for (const Outgoing& image : images) {
      const Sha256Digest digest = sha256(image.manifest_json);
      TRY(pusher_.put_manifest(digest.str(), image.manifest.media_type, image.manifest_json, stop_.get_token()));
      oci::Descriptor entry;
      entry.media_type = image.manifest.media_type;
      entry.digest = digest.str();
      entry.size = static_cast<int64_t>(image.manifest_json.size());
      entry.platform = image.platform;
      index.manifests.push_back(std::move(entry));
    }
    return name(index.media_type, index.serialize());
  }

 private:
  void tell(const Sha256Digest& layer, const std::string& text) {
    std::lock_guard lock(tell_mutex_);
    if (events_.status) events_.status(short_id(layer), text);
  }

  // The tag, when all that it means is there.
  Result<Pushed> name(const std::string& media_type, const std::string& bytes) {
    Pushed out{sha256(bytes), bytes.size(), media_type};
    if (!TRY(pusher_.has_manifest(reference_.tag, out.digest, stop_.get_token())))
      TRY(pusher_.put_manifest(reference_.tag, media_type, bytes, stop_.get_token()));
    return out;
  }

  Result<void> send_blobs(std::vector<Outgoing>& images) {
    near_ = neighbours(store_, reference_);
    std::map<Sha256Digest, std::vector<oci::Descriptor*>> layers;  // each once
    std::vector<Sha256Digest> order;
    for (Outgoing& image : images)
      for (size_t i = image.diff_ids.size(); i-- > 0;) {  // docker's order: the top first
        std::vector<oci::Descriptor*>& users = layers[image.diff_ids[i]];
        if (users.empty()) order.push_back(image.diff_ids[i]);
        users.push_back(&image.manifest.layers[i]);
      }
    for (const Sha256Digest& diff_id : order) tell(diff_id, "Preparing");
    const size_t limit = static_cast<size_t>(pusher_.uploads());
    for (size_t i = limit; i < order.size(); ++i) tell(order[i], "Waiting");
    {
      ThreadPool pool(static_cast<unsigned>(std::max<size_t>(1, std::min(limit, order.size() + images.size()))));
      for (const Sha256Digest& diff_id : order)
        pool.submit([this, diff_id, &users = layers[diff_id]] {
          guarded([&] { return send_layer(diff_id, users); });
        });
      for (const Outgoing& image : images)
        pool.submit([this, &image] { guarded([&] { return send_config(image); }); });
    }
    std::lock_guard lock(mutex_);
    if (error_) return std::move(*error_);
    return {};
  }

  void guarded(const std::function<Result<void>()>& work) {
    if (stop_.stop_requested()) return;
    Result<void> done = work();
    if (done) return;
    std::lock_guard lock(mutex_);
    if (!error_) error_ = std::move(done.error());
    stop_.request_stop();
  }

  Result<void> send_layer(const Sha256Digest& diff_id, std::vector<oci::Descriptor*>& users) {
    std::optional<oci::Descriptor> made;
    std::set<std::string> sent;  // images may have the layer in several compressed forms
    for (oci::Descriptor* user : users) {
      if (user->digest.empty()) {
        if (!made) made = TRY(layer_blob(store_, diff_id, options_));
        *user = *made;
      }
      if (is_foreign(*user))
        tell(diff_id, "Skipped foreign layer");
      else if (sent.insert(user->digest).second)
        TRY(send_blob(diff_id, *user));
    }
    return {};
  }

  Result<void> send_blob(const Sha256Digest& diff_id, const oci::Descriptor& descriptor) {
    const Sha256Digest digest = TRY(oci::parse_sha256(descriptor.digest));
    if (TRY(pusher_.has_blob(digest, stop_.get_token()))) {
      tell(diff_id, "Layer already exists");
      return {};
    }
    if (auto it = near_.find(diff_id); it != near_.end())
      for (const std::string& from : it->second) {
        Result<bool> mounted = pusher_.mount(digest, from, stop_.get_token());
        if (mounted && *mounted) {
          tell(diff_id, "Mounted from " + from);
          return {};
        }
      }
    tell(diff_id, "Pushing");
    FileUpload source(store_.path("blobs/sha256/" + digest.hex()));
    TRY(upload(digest, static_cast<uint64_t>(descriptor.size), source, diff_id));
    tell(diff_id, "Pushed");
    return {};
  }

  Result<void> send_config(const Outgoing& image) {
    if (TRY(pusher_.has_blob(image.id, stop_.get_token()))) return {};
    TextUpload source(image.config_json);
    return pusher_.upload(image.id, image.config_json.size(), source, {}, stop_.get_token());
  }

  // The session is remembered in the store, so that the next run continues a broken upload.
  Result<void> upload(const Sha256Digest& digest, uint64_t size, registry::UploadSource& source,
                      const Sha256Digest& diff_id) {
    const std::string folder = store_.path("uploads");
    TRY(make_directories(folder, 0700));
    const std::string file =
        folder + "/" + sha256(pusher_.host() + "|" + reference_.repository + "|" + digest.str()).hex();
    registry::UploadHooks hooks;
    if (Result<std::string> known = read_file(file, 64u << 10)) hooks.session = std::move(*known);
    hooks.session_changed = [&](const std::string& url) {
      if (url.empty())
        ::unlink(file.c_str());
      else
        (void)replace_file(file, url, 0600).has_value();  // only a shortcut
    };
    hooks.progress = [&](uint64_t current) {
      std::lock_guard lock(tell_mutex_);
      if (events_.progress) events_.progress(short_id(diff_id), current, size);
    };
    hooks.on_retry = [&](int seconds) {
      tell(diff_id, "Retrying in " + std::to_string(seconds) + " second" + (seconds == 1 ? "" : "s"));
    };
    return pusher_.upload(digest, size, source, hooks, stop_.get_token());
  }

  // What was made for the registry is kept, so that the next push needs no work.
  Result<void> finish_manifest(Outgoing& image) {
    if (image.kept) return {};
    image.manifest_json = image.manifest.serialize();
    store::ImageRecord record;
    record.config_json = image.config_json;
    record.diff_ids = image.diff_ids;
    record.manifest_json = image.manifest_json;
    record.manifest_media_type = image.manifest.media_type;
    TRY(store_.put_image(record));
    return {};
  }

  store::Store& store_;
  registry::Pusher& pusher_;
  const oci::Reference& reference_;
  const PushOptions& options_;
  const PushEvents& events_;
  std::stop_source stop_;
  std::stop_callback<std::function<void()>> forward_;
  std::map<Sha256Digest, std::vector<std::string>> near_;
  std::mutex tell_mutex_;
  std::mutex mutex_;  // guards error_
  std::optional<Error> error_;
};

}  // namespace

Result<Pushed> push(store::Store& store, registry::Pusher& pusher, const oci::Reference& reference,
                    const PushOptions& options, const PushEvents& events, const std::stop_token& stop) {
  TRY(store.hold());
  const std::string tag = reference.name() + ":" + reference.tag;
  std::vector<store::PlatformImage> platforms = TRY(store.platforms_of(tag));
  std::optional<Sha256Digest> image = TRY(store.find_tag(tag));
  if (!image) return Error(ErrorKind::kNotFound, "tag does not exist: " + reference.familiar());
  if (options.platform && !platforms.empty()) {
    image = TRY(store.find_tag_platform(tag, options.platform->normalized().str()));
    if (!image)
      return Error(ErrorKind::kNotFound, reference.familiar() + " names no image for " + options.platform->str());
    platforms.clear();
  }
  std::vector<Outgoing> images;
  if (platforms.empty()) images.push_back(TRY(read_image(store, *image)));
  for (const auto& [platform, id] : platforms) images.push_back(TRY(read_image(store, id)));
  Push work(store, pusher, reference, options, events, stop);
  const Pushed pushed = TRY(work.run(std::move(images), !platforms.empty()));
  TRY(store.tag(*image, reference.name() + "@" + pushed.digest.str()));
  return pushed;
}

}  // namespace kasane::transfer
