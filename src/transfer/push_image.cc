#include "transfer/push_image.h"

#include "oci/digest.h"
#include "oci/image_config.h"

namespace kasane::transfer {

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
      out.kept = out.kept && (oci::is_foreign_layer(layer) || (digest && store.has_blob(*digest)));
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
