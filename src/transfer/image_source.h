// Where a copy reads: documents and blobs by digest, whatever holds them. Each document is
// checked against its digest; blobs are checked by whoever reads the last byte.
#pragma once

#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/result.h"
#include "oci/manifest.h"
#include "registry/pusher.h"
#include "registry/repository.h"
#include "store/store.h"
#include "transfer/copy_location.h"

namespace kasane::transfer {

// document(), blob() and fetch() are thread-safe.
class ImageSource {
 public:
  virtual ~ImageSource() = default;
  // All names that there are, for --all-tags.
  virtual Result<std::vector<std::string>> names(const std::stop_token& stop) = 0;
  // What a name means; "" = what the location says. kNotFound, kInvalid (more than one fits).
  virtual Result<registry::Document> top(const std::string& name, const std::stop_token& stop) = 0;
  virtual Result<registry::Document> document(const oci::Descriptor& descriptor, const std::stop_token& stop) = 0;
  // The bytes from any place on; reading the last of them fails with kCorrupt when the digest of
  // what was read is another one. Must not outlive the source.
  virtual Result<std::unique_ptr<registry::UploadSource>> blob(const oci::Descriptor& descriptor,
                                                               const std::stop_token& stop) = 0;
  // All of the blob into the target, verified.
  virtual Result<void> fetch(const oci::Descriptor& descriptor, registry::BlobTarget& target,
                             const std::stop_token& stop);
  // The repository on that host from which the host itself can take blobs over; "" = none.
  virtual std::string neighbour(const std::string& host) const;
  virtual int parallel() const { return 4; }  // blobs at once
};

struct SourceOptions {
  const registry::Surroundings& around;
  store::Store* store = nullptr;  // for kStore
  std::stop_token stop;
};
Result<std::unique_ptr<ImageSource>> open_source(const Location& location, const SourceOptions& options);

// The kinds, one file each.
Result<std::unique_ptr<ImageSource>> open_registry_source(const Location& location, const SourceOptions& options);
Result<std::unique_ptr<ImageSource>> open_layout_source(const Location& location);
Result<std::unique_ptr<ImageSource>> open_tar_source(const Location& location, const std::stop_token& stop);
Result<std::unique_ptr<ImageSource>> open_store_source(const Location& location, const SourceOptions& options);

// The entry of a layout's index.json that a name means: ref.name, or a full image name in familiar
// or canonical form. "": the only entry. kNotFound and kInvalid list the names that there are.
Result<oci::Descriptor> choose_layout_entry(const oci::Index& index, const std::string& name,
                                            const std::string& digest, const std::string& where);
// The names of all entries: ref.name, else the full one; each once, in order.
std::vector<std::string> layout_names(const oci::Index& index);

// A configuration or the like, verified: at most 4 MiB.
Result<std::string> read_small_blob(ImageSource& source, const oci::Descriptor& descriptor, const std::stop_token& stop);

// Passes bytes on and fails instead of delivering the last ones when the digest is wrong. Begun
// behind the first byte it does not check. Owns what it reads.
std::unique_ptr<ByteSource> checked_source(std::unique_ptr<ByteSource> inner, const oci::Descriptor& descriptor,
                                           uint64_t offset);

}  // namespace kasane::transfer
