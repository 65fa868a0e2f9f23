#include "transfer/pull_layer.h"

#include <unistd.h>

#include <array>
#include <chrono>
#include <thread>

#include "base/compress.h"
#include "oci/digest.h"
#include "store/layer.h"
#include "store/partial_blob.h"

namespace kasane::transfer {
namespace {

using store::PartialBlob;

// Bytes go into the partial blob, from which the importer reads them at the same time.
class Target final : public registry::BlobTarget {
 public:
  Target(PartialBlob& blob, const LayerHooks& hooks) : blob_(blob), hooks_(hooks) {}
  uint64_t have() const override { return blob_.have(); }
  Result<void> append(std::span<const uint8_t> bytes) override {
    TRY(blob_.append(bytes));
    const auto now = std::chrono::steady_clock::now();
    if (hooks_.progress && now - told_ >= std::chrono::milliseconds(100)) {
      told_ = now;
      hooks_.progress(blob_.have(), blob_.size());
    }
    return {};
  }
  Result<void> restart() override { return blob_.restart(); }
  Result<void> verify() override {
    hooks_.status("Verifying Checksum");
    return blob_.verify();
  }

 private:
  PartialBlob& blob_;
  const LayerHooks& hooks_;
  std::chrono::steady_clock::time_point told_{};
};

// Reads all of the blob, so that its digest covers what stands behind the compressed stream too.
Result<Sha256Digest> import_blob(store::Store& store, PartialBlob& blob, const Sha256Digest& diff_id) {
  const std::unique_ptr<ByteSource> reader = blob.reader();
  HashingSource hashed(*reader);
  OpenedStream opened = TRY(open_decompressed(hashed));
  store::ImportOptions options;
  options.expected_diff_id = diff_id;
  TRY(store::import_layer(store, *opened.source, options));
  std::array<uint8_t, 65536> rest;
  while (TRY(hashed.read(rest)) > 0) {
  }
  return hashed.finish();
}

// Follows the download; begins again when that does.
void follow(store::Store& store, PartialBlob& blob, const Sha256Digest& diff_id, Result<void>& out) {
  for (;;) {
    Result<Sha256Digest> done = import_blob(store, blob, diff_id);
    if (!done && done.error().kind() == ErrorKind::kConflict) continue;
    out = done ? Result<void>() : Result<void>(std::move(done.error()));
    return;
  }
}

// The blob is here from an earlier pull that did not get as far as the layer.
Result<bool> import_kept(store::Store& store, PartialBlob& blob, const Sha256Digest& digest,
                         const Sha256Digest& diff_id) {
  Result<Sha256Digest> found = import_blob(store, blob, diff_id);
  if (found && *found == digest) return true;
  if (!found && found.error().kind() == ErrorKind::kNoSpace) return std::move(found.error());
  ::unlink(store.path("blobs/sha256/" + digest.hex()).c_str());  // damaged (R7): fetched again
  return false;
}

}  // namespace

Result<void> check_layer_type(const oci::Descriptor& descriptor) {
  constexpr std::string_view kOci = "application/vnd.oci.image.layer.";
  constexpr std::string_view kDocker = "application/vnd.docker.image.rootfs.";
  std::string_view type = descriptor.media_type;
  bool fits = false;
  if (type.starts_with(kOci)) {
    type.remove_prefix(kOci.size());
    if (type.starts_with("nondistributable.")) type.remove_prefix(17);
    fits = type == "v1.tar" || type == "v1.tar+gzip" || type == "v1.tar+zstd";
  } else if (type.starts_with(kDocker)) {
    type.remove_prefix(kDocker.size());
    if (type.starts_with("foreign.")) type.remove_prefix(8);
    fits = type == "diff.tar" || type == "diff.tar.gzip" || type == "diff.tar.zstd";
  }
  if (fits) return {};
  return Error(ErrorKind::kUnsupported, "unsupported media type " + descriptor.media_type.substr(0, 200));
}

Result<void> pull_layer(store::Store& store, registry::Repository& repository,
                        const oci::Descriptor& descriptor, const Sha256Digest& diff_id,
                        const LayerHooks& hooks, const std::stop_token& stop) {
  const BlobFetch fetch = [&](const oci::Descriptor& blob, registry::BlobTarget& target,
                              const std::function<void(int)>& on_retry) {
    return repository.blob(blob, target, stop, on_retry);
  };
  return pull_layer(store, fetch, descriptor, diff_id, hooks, stop);
}

Result<void> pull_layer(store::Store& store, const BlobFetch& fetch, const oci::Descriptor& descriptor,
                        const Sha256Digest& diff_id, const LayerHooks& hooks, const std::stop_token& stop) {
  const Sha256Digest digest = TRY(oci::parse_sha256(descriptor.digest));
  for (;;) {
    std::unique_ptr<PartialBlob> blob =
        TRY(PartialBlob::open(store, digest, static_cast<uint64_t>(descriptor.size), stop));
    if (blob->complete()) {
      hooks.status("Download complete");
      // Somebody else may have done all of it while this process waited.
      if (TRY(store::adopt_layer(store, diff_id))) break;
      if (TRY(import_kept(store, *blob, digest, diff_id))) break;
      continue;
    }
    Result<void> imported;
    std::thread importer([&] { follow(store, *blob, diff_id, imported); });
    Target target(*blob, hooks);
    Result<void> fetched = fetch(descriptor, target, [&](int seconds) {
      hooks.status("Retrying in " + std::to_string(seconds) + " second" + (seconds == 1 ? "" : "s"));
    });
    if (!fetched) blob->fail(fetched.error());
    if (fetched) hooks.status("Download complete");
    importer.join();
    if (!fetched) {
      if (fetched.error().kind() == ErrorKind::kCorrupt)
        return Error(ErrorKind::kCorrupt, "filesystem layer verification failed for digest " + descriptor.digest +
                                              ": " + fetched.error().message())
            .hint(fetched.error().hint_text());
      return fetched;
    }
    // It may have met bytes of a source that turned out to be wrong: now they are verified.
    if (!imported) follow(store, *blob, diff_id, imported);
    TRY(Result<void>(imported));
    TRY(blob->commit());
    break;
  }
  hooks.status("Pull complete");
  return {};
}

}  // namespace kasane::transfer
