#include "base/compress.h"
#include "store/layer.h"
#include "transfer/transfer.h"

namespace kasane::transfer {

Result<Sha256Digest> import_rootfs(store::Store& store, ByteSource& tar, ImportImage image) {
  TRY(store.hold());
  OpenedStream opened = TRY(open_decompressed(tar));
  store::LayerPtr layer = TRY(store::import_layer(store, *opened.source, {}));
  image.config.diff_ids = {layer->diff_id()};
  oci::HistoryEntry entry;
  entry.created = image.config.created;
  entry.comment = image.message;
  image.config.history = {entry};
  store::ImageRecord record;
  record.config_json = image.config.serialize();
  record.diff_ids = image.config.diff_ids;
  if (!image.reference.empty()) record.tags = {image.reference};
  return store.put_image(record);
}

}  // namespace kasane::transfer
