#include "transfer/pull.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <utility>

#include "base/thread_pool.h"
#include "oci/digest.h"
#include "oci/image_config.h"
#include "oci/platform_match.h"
#include "store/layer.h"
#include "store/layer_blobs.h"
#include "transfer/pull_layer.h"

namespace kasane::transfer {
namespace {

constexpr int kMaxIndexDepth = 8;  // R1
constexpr size_t kMaxManifests = 10'000;
constexpr std::string_view kDockerConfig = "application/vnd.docker.container.image.v1+json";

std::string short_id(const std::string& digest) {
  const size_t colon = digest.find(':');
  return digest.substr(colon == std::string::npos ? 0 : colon + 1, 12);
}

// Serialises the caller's callbacks.
class Teller {
 public:
  explicit Teller(const PullEvents& events) : events_(events) {}
  void status(const std::string& id, const std::string& text) {
    std::lock_guard lock(mutex_);
    if (events_.status) events_.status(id, text);
  }
  void progress(const std::string& id, uint64_t current, uint64_t total) {
    std::lock_guard lock(mutex_);
    if (events_.progress) events_.progress(id, current, total);
  }

 private:
  const PullEvents& events_;
  std::mutex mutex_;
};

Error no_match(const oci::Platform& platform) {
  return Error(ErrorKind::kNotFound, "no matching manifest for " + platform.str() + " in the manifest list entries")
      .hint("--platform chooses another one; `skopeo inspect --raw` shows which there are");
}

// Documents that an earlier pull left in the store need no request.
Result<registry::Document> document_of(store::Store& store, registry::Repository& repository,
                                       const std::string& digest, const std::stop_token& stop) {
  if (const auto parsed = Sha256Digest::parse(digest); parsed && store.has_blob(*parsed))
    if (Result<std::string> bytes = store.read_blob(*parsed))
      if (Result<registry::Document> document = registry::classify(std::move(*bytes), "")) return document;
  return repository.document(digest, stop);
}

// Down the indexes to the manifest of the platform. Indexes are kept beside: they are small, and
// the next pull of the name is then one request.
Result<registry::Document> choose(store::Store& store, registry::Repository& repository,
                                  registry::Document document, const oci::Platform& platform,
                                  std::vector<registry::Document>& indexes, const std::stop_token& stop) {
  for (int depth = 0; document.is_index; ++depth) {
    if (depth >= kMaxIndexDepth) return Error(ErrorKind::kLimit, "image indexes are nested too deeply");
    const oci::Index index = TRY(oci::Index::parse(document.bytes));
    if (index.manifests.size() > kMaxManifests)
      return Error(ErrorKind::kLimit, "the image index has more than 10,000 manifests");
    const oci::Descriptor* entry = oci::choose_platform(index.manifests, platform);
    if (!entry) return no_match(platform);
    if (!store.has_blob(document.digest)) TRY(store.put_blob(document.bytes));
    registry::Document next = TRY(document_of(store, repository, entry->digest, stop));
    if (static_cast<int64_t>(next.bytes.size()) != entry->size)
      return Error(ErrorKind::kCorrupt, "manifest verification failed for digest " + entry->digest +
                                            ": it has another size than the index says");
    if (!entry->media_type.empty() && entry->media_type != next.media_type)
      return Error(ErrorKind::kInvalid, "ambiguous manifest: the index calls it " + entry->media_type +
                                            ", itself says " + next.media_type);
    indexes.push_back(std::exchange(document, std::move(next)));
  }
  return document;
}

// What is about the image and no part of it, in the store afterwards. Small, and nobody's pull
// fails for want of it.
void fetch_attestation(store::Store& store, registry::Repository& repository, const oci::Descriptor& entry,
                       std::vector<Sha256Digest>& kept, const std::stop_token& stop) {
  Result<registry::Document> document = document_of(store, repository, entry.digest, stop);
  if (!document) return;
  const Result<oci::Manifest> manifest = oci::Manifest::parse(document->bytes);
  if (!manifest || !store.put_blob(document->bytes)) return;
  kept.push_back(document->digest);
  std::vector<oci::Descriptor> blobs = manifest->layers;
  blobs.push_back(manifest->config);
  for (const oci::Descriptor& blob : blobs) {
    const auto digest = Sha256Digest::parse(blob.digest);
    if (!digest) continue;
    if (!store.has_blob(*digest)) {
      const Result<std::string> text = repository.blob_text(blob, stop);
      if (!text || !store.put_blob(*text)) continue;
    }
    kept.push_back(*digest);
  }
}

// The indexes that the image was found in, and the attestations about it: so that a push sends
// the same index again.
Result<void> keep_company(store::Store& store, registry::Repository& repository, const Sha256Digest& image,
                          const std::string& manifest, const std::vector<registry::Document>& indexes,
                          const std::stop_token& stop) {
  std::vector<Sha256Digest> kept;
  for (const registry::Document& document : indexes) {
    kept.push_back(document.digest);
    const oci::Index index = TRY(oci::Index::parse(document.bytes));
    for (const oci::Descriptor& entry : index.manifests) {
      const auto about = entry.annotations.find("vnd.docker.reference.digest");
      if (oci::is_attestation(entry) && about != entry.annotations.end() && about->second == manifest)
        fetch_attestation(store, repository, entry, kept, stop);
    }
  }
  return store::keep_with_image(store, image, kept);
}

struct Image {
  oci::Manifest manifest;
  oci::ImageConfig config;
  store::ImageRecord record;
};

Result<Image> read_image(registry::Repository& repository, registry::Document document,
                         const std::stop_token& stop) {
  Image out;
  out.manifest = TRY(oci::Manifest::parse(document.bytes));
  const oci::Descriptor& config = out.manifest.config;
  if (config.media_type != oci::kMediaTypeConfig && config.media_type != kDockerConfig)
    return Error(ErrorKind::kUnsupported, "unsupported media type " + config.media_type.substr(0, 200))
        .hint("this is no container image, but another artifact");
  for (const oci::Descriptor& layer : out.manifest.layers) TRY(check_layer_type(layer));
  Result<std::string> text = repository.blob_text(config, stop);
  if (!text && text.error().kind() == ErrorKind::kCorrupt)
    return Error(ErrorKind::kCorrupt, "image config verification failed for digest " + config.digest);
  out.record.config_json = TRY(std::move(text));
  out.config = TRY(oci::ImageConfig::parse(out.record.config_json));
  if (out.config.diff_ids.empty() && !out.manifest.layers.empty())
    return Error(ErrorKind::kInvalid, "invalid rootfs in image configuration");
  if (out.config.diff_ids.size() != out.manifest.layers.size())
    return Error(ErrorKind::kInvalid, "layers from manifest don't match image configuration");
  out.record.diff_ids = out.config.diff_ids;
  out.record.manifest_json = std::move(document.bytes);
  out.record.manifest_media_type = std::move(document.media_type);
  return out;
}

// The first error ends the others.
class LayerWork {
 public:
  LayerWork(store::Store& store, registry::Repository& repository, Teller& teller, const std::stop_token& stop)
      : store_(store), repository_(repository), teller_(teller), forward_(stop, [this] { stop_.request_stop(); }) {}

  Result<void> run(const Image& image) {
    std::map<std::string, size_t> wanted;  // each blob once
    for (size_t i = 0; i < image.manifest.layers.size(); ++i) {
      const oci::Descriptor& layer = image.manifest.layers[i];
      const std::string id = short_id(layer.digest);
      if (TRY(store::adopt_layer(store_, image.config.diff_ids[i]))) {
        teller_.status(id, "Already exists");
      } else if (auto [it, added] = wanted.emplace(layer.digest, i);
                 !added && image.config.diff_ids[it->second] != image.config.diff_ids[i]) {
        return Error(ErrorKind::kInvalid, "layers from manifest don't match image configuration");
      } else if (added) {
        teller_.status(id, "Pulling fs layer");
      }
    }
    const size_t limit = static_cast<size_t>(repository_.route().limits.downloads);
    if (wanted.size() > limit)
      for (size_t i = 0, n = 0; i < image.manifest.layers.size(); ++i)
        if (auto it = wanted.find(image.manifest.layers[i].digest); it != wanted.end() && it->second == i && n++ >= limit)
          teller_.status(short_id(image.manifest.layers[i].digest), "Waiting");
    if (!wanted.empty()) {
      // In the order of the image, as docker: the base first.
      std::vector<size_t> order;
      for (const auto& [digest, i] : wanted) order.push_back(i);
      std::sort(order.begin(), order.end());
      ThreadPool pool(static_cast<unsigned>(std::min(limit, order.size())));
      for (const size_t i : order) pool.submit([this, &image, i] { one(image, i); });
    }
    std::lock_guard lock(mutex_);
    if (error_) return std::move(*error_);
    return {};
  }

 private:
  void one(const Image& image, size_t i) {
    const oci::Descriptor& layer = image.manifest.layers[i];
    const std::string id = short_id(layer.digest);
    LayerHooks hooks;
    hooks.status = [&](const std::string& text) { teller_.status(id, text); };
    hooks.progress = [&](uint64_t current, uint64_t total) { teller_.progress(id, current, total); };
    if (stop_.stop_requested()) return;
    Result<void> done =
        pull_layer(store_, repository_, layer, image.config.diff_ids[i], hooks, stop_.get_token());
    if (done) return;
    std::lock_guard lock(mutex_);
    if (!error_) error_ = std::move(done.error());
    stop_.request_stop();
  }

  store::Store& store_;
  registry::Repository& repository_;
  Teller& teller_;
  std::stop_source stop_;
  std::stop_callback<std::function<void()>> forward_;
  std::mutex mutex_;
  std::optional<Error> error_;
};

// The image of a manifest, if all of it is in the store.
std::optional<store::ImageRow> known_image(store::Store& store, const registry::Document& document) {
  Result<oci::Manifest> manifest = oci::Manifest::parse(document.bytes);
  if (!manifest) return std::nullopt;
  const auto id = Sha256Digest::parse(manifest->config.digest);
  if (!id || !store.has_blob(*id)) return std::nullopt;
  Result<std::optional<std::string>> own = store.image_manifest(*id);
  if (!own || *own != document.bytes) return std::nullopt;
  Result<store::ImageRow> row = store.image_row(*id);
  if (!row) return std::nullopt;
  return std::move(*row);
}

struct Names {
  std::vector<std::string> all;  // canonical
  bool newer = false;            // one of them is new, or meant another image
};

Result<Names> names_of(store::Store& store, const oci::Reference& reference, const Sha256Digest& digest,
                       const Sha256Digest& image, bool known, bool name_tag) {
  Names out;
  out.all.push_back(reference.name() + "@" + digest.str());
  if (!reference.digest.empty() || !name_tag) {
    out.newer = !known;
    return out;
  }
  const std::string tag = reference.name() + ":" + reference.tag;
  const std::optional<Sha256Digest> old = TRY(store.find_tag(tag));
  out.newer = !old || *old != image;
  out.all.push_back(tag);
  return out;
}

}  // namespace

Result<Pulled> pull(store::Store& store, registry::Repository& repository, const oci::Reference& reference,
                    const PullOptions& options, const PullEvents& events, const std::stop_token& stop) {
  TRY(store.hold());
  Teller teller(events);
  const oci::Platform platform = options.platform ? options.platform->normalized() : oci::host_with_variant();
  Pulled out;
  const std::string wanted = reference.digest.empty() ? reference.tag : reference.digest;
  // One resolution per command (R21): from here on everything is fetched by digest.
  std::optional<Sha256Digest> resolved = Sha256Digest::parse(reference.digest);
  if (reference.digest.empty()) resolved = TRY(repository.peek(reference.tag, stop));
  registry::Document top = resolved ? TRY(document_of(store, repository, resolved->str(), stop))
                                    : TRY(repository.document(wanted, stop));
  out.digest = top.digest;
  const bool single = !top.is_index;
  std::vector<registry::Document> indexes;
  registry::Document document = TRY(choose(store, repository, std::move(top), platform, indexes, stop));
  const std::string chosen = document.digest.str();
  const std::vector<oci::Platform> fits = oci::platform_fallbacks(platform);
  const auto judge = [&](oci::Platform own) {
    out.platform = own.normalized();
    out.wrong_platform = single && options.platform && std::find(fits.begin(), fits.end(), out.platform) == fits.end();
  };
  if (std::optional<store::ImageRow> known = known_image(store, document)) {
    judge({known->os, known->architecture, known->variant, ""});
    out.image = known->id;
    const Names names = TRY(names_of(store, reference, out.digest, known->id, true, options.name_tag));
    out.newer = names.newer;
    TRY(keep_company(store, repository, known->id, chosen, indexes, stop));
    for (const std::string& name : names.all) {
      const bool there = std::find(known->digests.begin(), known->digests.end(), name) != known->digests.end() ||
                         (!names.newer && name.find('@') == std::string::npos);
      if (!there) TRY(store.tag(known->id, name));
    }
    return out;
  }
  Image image = TRY(read_image(repository, std::move(document), stop));
  TRY(LayerWork(store, repository, teller, stop).run(image));
  judge({image.config.os, image.config.architecture, image.config.variant, ""});
  Names names = TRY(names_of(store, reference, out.digest, sha256(image.record.config_json), false,
                              options.name_tag));
  out.newer = names.newer;
  image.record.tags = std::move(names.all);
  out.image = TRY(store.put_image(image.record));
  TRY(keep_company(store, repository, out.image, chosen, indexes, stop));
  return out;
}

}  // namespace kasane::transfer
