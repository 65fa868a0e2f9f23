// Blobs of one push on their way into one repository. Internal to src/transfer.
#pragma once

#include <map>
#include <mutex>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "oci/manifest.h"
#include "transfer/compressed_layer.h"
#include "transfer/push.h"
#include "transfer/upload_notes.h"

namespace kasane::transfer {

// What a push calls a layer.
std::string short_id(const Sha256Digest& diff_id);

// Thread-safe. Everything is borrowed.
class BlobSender {
 public:
  BlobSender(store::Store& store, registry::Pusher& pusher, const oci::Reference& target,
             const LayerForm& form, const ReadyBlob& ready, const PushEvents& events);

  // Afterwards the registry has the layer. Compressed bytes that the store has go as they are;
  // without any the layer is compressed while it is sent. OCI's media types.
  Result<oci::Descriptor> layer(const Sha256Digest& diff_id, const std::stop_token& stop);
  // A blob of the store. `diff_id`: of the layer that it is, for the lines that are told.
  Result<void> stored(const Sha256Digest& diff_id, const oci::Descriptor& descriptor,
                      const std::stop_token& stop);
  // A configuration or another small document.
  Result<void> text(const std::string& bytes, const std::stop_token& stop);
  void tell(const Sha256Digest& diff_id, const std::string& text);
  // What was made has names now: nothing needs to be remembered.
  void forget_made();

 private:
  Result<oci::Descriptor> made(const store::LayerPtr& layer, const std::stop_token& stop);
  Result<registry::BlobEnd> streamed(const store::LayerPtr& layer, const std::string& key,
                                     const std::stop_token& stop);
  Result<bool> mounted(const Sha256Digest& diff_id, const Sha256Digest& digest, const std::stop_token& stop);
  registry::UploadHooks hooks_for(const Sha256Digest& diff_id, const std::string& key, uint64_t total);

  store::Store& store_;
  registry::Pusher& pusher_;
  const LayerForm& form_;
  const ReadyBlob& ready_;
  const PushEvents& events_;
  UploadNotes notes_;
  // Repositories of the same registry that had a layer when this store last met them.
  std::map<Sha256Digest, std::vector<std::string>> near_;
  std::mutex mutex_;  // guards what is told, and made_
  std::set<std::string> made_;
};

}  // namespace kasane::transfer
