#include "registry/delete_tag.h"

#include "base/random.h"
#include "registry/text_upload.h"

namespace kasane::registry {
namespace {

// A manifest that is like no other.
std::string unique_manifest(const std::string& config) {
  oci::Manifest manifest;
  manifest.media_type = oci::kMediaTypeManifest;
  manifest.config.media_type = oci::kMediaTypeConfig;
  manifest.config.digest = sha256(config).str();
  manifest.config.size = static_cast<int64_t>(config.size());
  return manifest.serialize();
}

Result<void> delete_through_a_manifest(Repository& repository, Pusher& pusher, const std::string& tag,
                                       const Document& old, const std::stop_token& stop) {
  const std::string config =
      "{\"architecture\":\"unknown\",\"os\":\"unknown\",\"config\":{\"Labels\":{\"deleted-tag\":\"" + random_hex(16) +
      "\"}},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]}}";
  const std::string manifest = unique_manifest(config), digest = sha256(manifest).str();
  const std::string type(oci::kMediaTypeManifest);
  TextUpload source(config);
  TRY(pusher.upload(sha256(config), config.size(), source, {}, stop));
  TRY(pusher.put_manifest(digest, type, manifest, stop));
  TRY(repository.remove(digest, stop));  // does it delete at all?
  TRY(pusher.put_manifest(tag, type, manifest, stop));
  Result<void> removed = repository.remove(digest, stop);
  // The tag must not be left with what nobody pushed.
  if (!removed) TRY(pusher.put_manifest(tag, old.media_type, old.bytes, {}));
  return removed;
}

}  // namespace

Result<void> delete_tag(Repository& repository, Pusher& pusher, const std::string& tag, const std::stop_token& stop) {
  const Document old = TRY(repository.document(tag, stop));
  Result<void> removed = repository.remove(tag, stop);
  // Old registries say of a tag in place of a digest that they do not know it.
  if (removed || (removed.error().kind() != ErrorKind::kUnsupported && removed.error().kind() != ErrorKind::kNotFound))
    return removed;
  return delete_through_a_manifest(repository, pusher, tag, old, stop);
}

}  // namespace kasane::registry
