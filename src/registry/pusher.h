// Uploads to one repository: HEAD, mount from a neighbour, sessions that continue after a break,
// manifests last. Reference 2.3, R10, R22.
#pragma once

#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "base/hash.h"
#include "base/result.h"
#include "registry/client.h"
#include "registry/upload.h"

namespace kasane::registry {

// Thread-safe.
class Pusher {
 public:
  // kInvalid when the configuration has no endpoint that takes pushes. `insecure`: as if the
  // configuration said so of this registry.
  static Result<std::unique_ptr<Pusher>> open(const Surroundings& around,
                                              const oci::Reference& reference, bool insecure = false);

  int uploads() const { return uploads_; }
  const std::string& host() const { return client_->endpoint().host; }

  Result<bool> has_blob(const Sha256Digest& digest, const std::stop_token& stop);
  // True when the registry took the blob over from another repository of its own.
  Result<bool> mount(const Sha256Digest& digest, const std::string& from, const std::stop_token& stop);
  // Afterwards the registry says that it has the blob.
  Result<void> upload(const Sha256Digest& digest, uint64_t size, UploadSource& source,
                      const UploadHooks& hooks, const std::stop_token& stop);
  // The same for a blob whose digest is known at its end only.
  Result<void> upload_growing(GrowingSource& source, const UploadHooks& hooks, const std::stop_token& stop);
  Result<bool> has_manifest(const std::string& tag, const Sha256Digest& digest, const std::stop_token& stop);
  // Whatever it means.
  Result<bool> has_tag(const std::string& tag, const std::stop_token& stop);
  // `reference`: tag or digest. `conditions`: headers as If-Match; kConflict when a registry that
  // knows them finds that they do not hold.
  Result<void> put_manifest(const std::string& reference, const std::string& media_type,
                            const std::string& bytes, const std::stop_token& stop,
                            const std::vector<std::string>& conditions = {});

 private:
  explicit Pusher(std::unique_ptr<Client> client) : client_(std::move(client)) {}
  std::unique_ptr<Client> client_;
  int uploads_ = 4;
};

}  // namespace kasane::registry
