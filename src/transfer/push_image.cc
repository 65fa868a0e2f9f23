#include "transfer/push_image.h"

#include "oci/digest.h"
#include "oci/image_config.h"
#include "store/layer_blobs.h"
#include "transfer/blob_sender.h"
#include "transfer/layer_export.h"

namespace kasane::transfer {

oci::Descriptor layer_descriptor(std::string_view media_type, const Sha256Digest& digest, uint64_t size) {
  oci::Descriptor out;
  out.media_type = media_type;
  out.digest = digest.str();
  out.size = static_cast<int64_t>(size);
  return out;
}

Result<std::optional<oci::Descriptor>> known_layer_blob(store::Store& store, const Sha256Digest& diff_id) {
  const std::optional<store::LayerBlob> found = TRY(store::find_layer_blob(store, diff_id));
  if (!found) return std::optional<oci::Descriptor>();
  // In a manifest of ours, docker's names would be strangers.
  const std::optional<Compression> kind = compression_of(found->media_type);
  return std::optional(
      layer_descriptor(kind ? layer_media_type(*kind, true) : std::string_view(found->media_type), found->digest, found->size));
}

Result<oci::Descriptor> layer_blob(store::Store& store, const Sha256Digest& diff_id, const LayerForm& form) {
  if (std::optional<oci::Descriptor> known = TRY(known_layer_blob(store, diff_id))) return std::move(*known);
  const std::unique_ptr<CompressedLayer> made =
      TRY(CompressedLayer::start(store, TRY(store::open_layer(store, diff_id)), form, {}));
  const registry::BlobEnd end = TRY(made->keep());
  return layer_descriptor(layer_media_type(form.compression, true), end.digest, end.size);
}

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

Result<void> keep_manifest(store::Store& store, Outgoing& image) {
  if (image.kept) return {};
  image.manifest_json = image.manifest.serialize();
  store::ImageRecord record;
  record.config_json = image.config_json;
  record.diff_ids = image.diff_ids;
  record.manifest_json = image.manifest_json;
  record.manifest_media_type = image.manifest.media_type;
  TRY(store.put_image(record));
  return {};
}

}  // namespace kasane::transfer
