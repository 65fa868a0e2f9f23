// One repository over all endpoints that serve it: mirrors first, then the registry. Every answer
// is checked against its digest, so it does not matter who gave it. Reference 2.2, R14-R21.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/hash.h"
#include "base/result.h"
#include "oci/json.h"
#include "oci/manifest.h"
#include "registry/client.h"
#include "registry/endpoint.h"

namespace kasane::registry {

// A manifest or index, byte for byte.
struct Document {
  std::string bytes;
  std::string media_type;  // embedded, else what its form says
  Sha256Digest digest;
  bool is_index = false;
};

// Where the bytes of a blob go. One download at a time.
class BlobTarget {
 public:
  virtual ~BlobTarget() = default;
  virtual uint64_t have() const = 0;             // bytes that need not be sent again
  virtual Result<void> append(std::span<const uint8_t> bytes) = 0;
  virtual Result<void> restart() = 0;            // forget what came
  virtual Result<void> verify() = 0;             // kCorrupt, after a restart(), on a wrong digest
};

// What refers to a manifest by its `subject`: signatures, SBOMs.
struct Referrers {
  std::vector<oci::Json> entries;  // descriptors, as the registry gives them
  bool from_tag = false;           // it has no referrers API: read from the tag "sha256-..."
};

// Thread-safe.
class Repository {
 public:
  // kPermission when the configuration blocks the name.
  // `max_attempts`: of one request, where fewer than configured will do; 0: as configured.
  static Result<std::unique_ptr<Repository>> open(const Surroundings& around,
                                                  const oci::Reference& reference,
                                                  int max_attempts = 0);
  // Asks only the endpoint that takes pushes: for what is read in order to change it.
  static Result<std::unique_ptr<Repository>> open_to_change(const Surroundings& around,
                                                            const oci::Reference& reference);

  const Route& route() const { return route_; }

  // What the tag means now, by a HEAD; nullopt when no endpoint tells it that way.
  Result<std::optional<Sha256Digest>> peek(const std::string& tag, const std::stop_token& stop);
  // By tag or digest. kNotFound, kPermission; kUnsupported for schema 1 and unknown forms.
  Result<Document> document(const std::string& tag_or_digest, const std::stop_token& stop);
  // A small blob (a configuration).
  Result<std::string> blob_text(const oci::Descriptor& descriptor, const std::stop_token& stop);
  // Continues where the target stands; tries again after faults that may pass. `on_retry` gets
  // the seconds of each wait.
  Result<void> blob(const oci::Descriptor& descriptor, BlobTarget& target, const std::stop_token& stop,
                    const std::function<void(int)>& on_retry = {});
  // All tags, sorted as the registry gives them. Limits of R11 and R27.
  Result<std::vector<std::string>> tags(const std::stop_token& stop);
  // Of that type only; "" = all.
  Result<Referrers> referrers(const Sha256Digest& subject, const std::string& artifact_type,
                              const std::stop_token& stop);
  // Removes a tag, or a manifest with all of its tags. kNotFound; kUnsupported when the registry
  // does not delete, or not by tag. REQUIRES: open_to_change().
  Result<void> remove(const std::string& tag_or_digest, const std::stop_token& stop);

 private:
  struct Source {
    std::unique_ptr<Client> client;
    std::atomic<bool> dead = false;  // could not be reached: not asked again
  };
  Repository(Route route) : route_(std::move(route)) {}
  static Result<std::unique_ptr<Repository>> connect(const Surroundings& around, Route route);
  // Runs `ask` against each endpoint in order until one succeeds.
  template <class T>
  Result<T> first_of(bool resolving, const std::function<Result<T>(Client&)>& ask);
  Result<Document> document_from(Client& client, const std::string& tag_or_digest,
                                 const std::optional<Sha256Digest>& wanted, const std::stop_token& stop);
  Result<void> blob_from(Client& client, const oci::Descriptor& descriptor, BlobTarget& target,
                         const std::stop_token& stop, const std::function<void(int)>& on_retry);
  std::string subject(const std::string& tag_or_digest) const;

  Route route_;
  std::vector<std::unique_ptr<Source>> sources_;
};

// What the bytes are; Content-Type and the embedded type must not contradict each other (R1).
Result<Document> classify(std::string bytes, const std::string& content_type);

// The Accept header for manifests.
extern const std::string kAcceptManifests;

}  // namespace kasane::registry
