// A copy's destination in the store: the images with their manifests and compressed layers as
// they came, so that a push or copy of them sends the same bytes again.
#include <algorithm>

#include "oci/image_config.h"
#include "oci/platform_match.h"
#include "store/layer.h"
#include "transfer/image_destination.h"
#include "transfer/pull_layer.h"

namespace kasane::transfer {
namespace {

struct Incoming {
  store::ImageRecord record;
  oci::Manifest manifest;
  oci::Platform platform;
};

class StoreDestination final : public ImageDestination {
 public:
  StoreDestination(store::Store& store, oci::Reference reference) : store_(store), reference_(std::move(reference)) {}

  Result<void> write(const CopyPlan& plan, ImageSource& source, CopyLog& log, const std::stop_token& stop) override {
    TRY(store_.hold());
    for (const PlannedName& name : plan.names) {
      std::vector<const registry::Document*> documents;
      TRY(images_of(plan, plan.documents[name.document].document, documents, 0));
      if (documents.empty())
        return Error(ErrorKind::kUnsupported, reference_.familiar() + ": there is no container image in it")
            .hint("the store holds container images only; oci:DIR takes any artifact");
      std::vector<store::PlatformImage> platforms;
      for (const registry::Document* document : documents) {
        const Incoming image = TRY(bring(*document, source, log, stop));
        const Sha256Digest id = TRY(store_.put_image(image.record));
        const std::string platform = image.platform.str();
        if (std::none_of(platforms.begin(), platforms.end(), [&](const auto& one) { return one.first == platform; }))
          platforms.emplace_back(platform, id);
      }
      const registry::Document& top = plan.documents[name.document].document;
      if (top.is_index)
        TRY(store_.tag_platforms(name.full, platforms));
      else
        TRY(store_.tag(platforms.front().second, name.full));
      const std::optional<Sha256Digest> shown = TRY(store_.find_tag(name.full));
      if (shown) TRY(store_.tag(*shown, reference_.name() + "@" + top.digest.str()));
    }
    return {};
  }

 private:
  // Attestations and other artifacts are no images.
  static Result<void> images_of(const CopyPlan& plan, const registry::Document& document,
                                std::vector<const registry::Document*>& out, int depth) {
    if (!document.is_index) {
      out.push_back(&document);
      return {};
    }
    if (depth >= 8) return Error(ErrorKind::kLimit, "image indexes are nested too deeply");
    const oci::Index index = TRY(oci::Index::parse(document.bytes));
    for (const oci::Descriptor& entry : index.manifests) {
      if (oci::is_attestation(entry)) continue;
      for (const PlannedDocument& planned : plan.documents)
        if (planned.document.digest.str() == entry.digest) TRY(images_of(plan, planned.document, out, depth + 1));
    }
    return {};
  }

  Result<Incoming> bring(const registry::Document& document, ImageSource& source, CopyLog& log,
                         const std::stop_token& stop) {
    Incoming out;
    out.manifest = TRY(oci::Manifest::parse(document.bytes));
    for (const oci::Descriptor& layer : out.manifest.layers) TRY(check_layer_type(layer));
    out.record.config_json = TRY(read_small_blob(source, out.manifest.config, stop));
    const oci::ImageConfig config = TRY(oci::ImageConfig::parse(out.record.config_json));
    if (config.diff_ids.size() != out.manifest.layers.size())
      return Error(ErrorKind::kInvalid, "layers from manifest don't match image configuration");
    out.platform = oci::Platform{config.os, config.architecture, config.variant, ""}.normalized();
    out.record.diff_ids = config.diff_ids;
    out.record.manifest_json = document.bytes;
    out.record.manifest_media_type = document.media_type;
    std::vector<size_t> wanted;  // each layer once
    for (size_t i = 0; i < config.diff_ids.size(); ++i)
      if (std::find(config.diff_ids.begin(), config.diff_ids.begin() + static_cast<std::ptrdiff_t>(i),
                    config.diff_ids[i]) == config.diff_ids.begin() + static_cast<std::ptrdiff_t>(i))
        wanted.push_back(i);
    TRY(in_parallel(wanted.size(), source.parallel(), stop, [&](size_t n, const std::stop_token& own) {
      return layer(out.manifest.layers[wanted[n]], config.diff_ids[wanted[n]], source, log, own);
    }));
    return out;
  }

  Result<void> layer(const oci::Descriptor& blob, const Sha256Digest& diff_id, ImageSource& source, CopyLog& log,
                     const std::stop_token& stop) {
    const auto digest = Sha256Digest::parse(blob.digest);
    if (digest && store_.has_blob(*digest) && store::open_layer(store_, diff_id).has_value()) {
      log.existing(blob);
      return {};
    }
    log.copying(blob);
    const BlobFetch fetch = [&](const oci::Descriptor& wanted, registry::BlobTarget& target,
                                const std::function<void(int)>&) { return source.fetch(wanted, target, stop); };
    LayerHooks hooks;
    hooks.status = [](const std::string&) {};
    TRY(pull_layer(store_, fetch, blob, diff_id, hooks, stop));
    log.copied(blob);
    return {};
  }

  store::Store& store_;
  oci::Reference reference_;
};

}  // namespace

Result<std::unique_ptr<ImageDestination>> open_store_destination(const Location& location,
                                                                 const DestinationOptions& options) {
  if (!options.store) return Error(ErrorKind::kInternal, "copy to the store without a store");
  return std::unique_ptr<ImageDestination>(std::make_unique<StoreDestination>(*options.store, location.reference));
}

}  // namespace kasane::transfer
