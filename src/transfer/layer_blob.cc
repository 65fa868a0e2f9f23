#include "transfer/layer_blob.h"

#include "store/layer_blobs.h"
#include "transfer/compressed_layer.h"
#include "transfer/layer_export.h"

namespace kasane::transfer {

std::string LayerForm::text() const {
  return std::to_string(static_cast<int>(compression)) + "|" + std::to_string(level.value_or(-1)) + "|" + KASANE_VERSION;
}

oci::Descriptor layer_descriptor(std::string_view media_type, const Sha256Digest& digest, uint64_t size) {
  oci::Descriptor out;
  out.media_type = media_type;
  out.digest = digest.str();
  out.size = static_cast<int64_t>(size);
  return out;
}

Result<std::optional<oci::Descriptor>> known_layer_blob(store::Store& store, const Sha256Digest& diff_id,
                                                        const LayerForm& form) {
  const std::optional<store::LayerBlob> found = TRY(store::find_layer_blob(store, diff_id));
  if (!found) return std::optional<oci::Descriptor>();
  const std::optional<Compression> kind = compression_of(found->media_type);
  if (form.force && kind != form.compression) return std::optional<oci::Descriptor>();
  // In a manifest of ours, docker's names would be strangers.
  return std::optional(
      layer_descriptor(kind ? layer_media_type(*kind, true) : std::string_view(found->media_type), found->digest, found->size));
}

Result<oci::Descriptor> layer_blob(store::Store& store, const Sha256Digest& diff_id, const LayerForm& form) {
  if (std::optional<oci::Descriptor> known = TRY(known_layer_blob(store, diff_id, form))) return std::move(*known);
  const std::unique_ptr<CompressedLayer> made =
      TRY(CompressedLayer::start(store, TRY(store::open_layer(store, diff_id)), form, {}));
  const registry::BlobEnd end = TRY(made->keep());
  return layer_descriptor(layer_media_type(form.compression, true), end.digest, end.size);
}

}  // namespace kasane::transfer
