#include "transfer/push_index.h"

#include <set>

#include "oci/digest.h"
#include "oci/image_config.h"
#include "transfer/blob_sender.h"
#include "transfer/parallel.h"

namespace kasane::transfer {
namespace {

constexpr int kMaxDepth = 8;  // R1
constexpr size_t kMaxDocuments = 10'000;

class Collector {
 public:
  Collector(store::Store& store, bool foreign) : store_(store), foreign_(foreign) {}

  // False when something is missing.
  bool add(const Sha256Digest& digest, int depth) {
    if (!documents_seen_.insert(digest).second) return true;
    if (depth > kMaxDepth || documents_seen_.size() > kMaxDocuments || !store_.has_blob(digest)) return false;
    Result<std::string> bytes = store_.read_blob(digest);
    if (!bytes) return false;
    Result<registry::Document> document = registry::classify(std::move(*bytes), "");
    if (!document || !(document->is_index ? add_index(*document, depth) : add_manifest(*document))) return false;
    whole.documents.push_back(std::move(*document));
    return true;
  }

  WholeIndex whole;

 private:
  bool add_index(const registry::Document& document, int depth) {
    const Result<oci::Index> index = oci::Index::parse(document.bytes);
    if (!index) return false;
    for (const oci::Descriptor& entry : index->manifests) {
      const auto digest = Sha256Digest::parse(entry.digest);
      if (!digest || !add(*digest, depth + 1)) return false;
    }
    return true;
  }

  bool add_manifest(const registry::Document& document) {
    const Result<oci::Manifest> manifest = oci::Manifest::parse(document.bytes);
    if (!manifest) return false;
    std::vector<Sha256Digest> labels;
    if (const auto id = Sha256Digest::parse(manifest->config.digest))
      if (const Result<std::string> text = store_.image_config(*id))
        if (const Result<oci::ImageConfig> config = oci::ImageConfig::parse(*text)) labels = config->diff_ids;
    for (size_t i = 0; i < manifest->layers.size(); ++i) {
      const std::optional<Sha256Digest> label = labels.size() == manifest->layers.size()
                                                    ? std::optional(labels[i])
                                                    : Sha256Digest::parse(manifest->layers[i].digest);
      if (!label || !add_blob(manifest->layers[i], *label)) return false;
    }
    const auto config = Sha256Digest::parse(manifest->config.digest);
    return config && add_blob(manifest->config, *config);
  }

  bool add_blob(const oci::Descriptor& descriptor, const Sha256Digest& label) {
    if (oci::is_foreign_layer(descriptor) && !foreign_) return true;
    const auto digest = Sha256Digest::parse(descriptor.digest);
    if (!digest || !store_.has_blob(*digest)) return false;
    if (blobs_seen_.insert(*digest).second) whole.blobs.push_back({descriptor, label});
    return true;
  }

  store::Store& store_;
  bool foreign_;
  std::set<Sha256Digest> documents_seen_, blobs_seen_;
};

}  // namespace

Result<std::optional<WholeIndex>> find_whole_index(store::Store& store, const Sha256Digest& image, bool foreign) {
  const std::optional<std::string> own = TRY(store.image_manifest(image));
  if (!own) return std::optional<WholeIndex>();
  const Sha256Digest manifest = sha256(*own);
  const store::ImageRow row = TRY(store.image_row(image));
  for (const std::string& name : row.digests) {
    const auto digest = Sha256Digest::parse(name.substr(name.find('@') + 1));
    if (!digest || *digest == manifest) continue;
    Collector collector(store, foreign);
    if (!collector.add(*digest, 0) || !collector.whole.documents.back().is_index) continue;
    for (const registry::Document& document : collector.whole.documents)
      if (document.digest == manifest) return std::optional<WholeIndex>(std::move(collector.whole));
  }
  return std::optional<WholeIndex>();
}

Result<Pushed> push_index(store::Store& store, registry::Pusher& pusher, const oci::Reference& reference,
                          const WholeIndex& whole, const PushOptions& options, const PushEvents& events,
                          const std::stop_token& stop) {
  const registry::Document& top = whole.documents.back();
  const Pushed out{top.digest, top.bytes.size(), top.media_type};
  if (TRY(pusher.has_manifest(reference.tag, top.digest, stop))) {
    for (const WholeIndex::Blob& blob : whole.blobs)
      if (events.status) events.status(short_id(blob.label), "Layer already exists");
    return out;
  }
  const LayerForm form{options.compression, options.level};
  const ReadyBlob nobody;
  BlobSender sender(store, pusher, reference, form, nobody, events);
  for (const WholeIndex::Blob& blob : whole.blobs) sender.tell(blob.label, "Preparing");
  TRY(in_parallel(whole.blobs.size(), pusher.uploads(), stop, [&](size_t i, const std::stop_token& own) {
    return sender.stored(whole.blobs[i].label, whole.blobs[i].descriptor, own);
  }));
  for (const registry::Document& document : whole.documents) {
    const std::string name = &document == &top ? reference.tag : document.digest.str();
    if (!TRY(pusher.has_manifest(name, document.digest, stop)))
      TRY(pusher.put_manifest(name, document.media_type, document.bytes, stop));
  }
  return out;
}

}  // namespace kasane::transfer
