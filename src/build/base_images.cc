#include "build/base_images.h"

#include <algorithm>

#include "oci/platform_match.h"
#include "oci/reference.h"
#include "transfer/pull.h"
#include "transfer/transfer.h"

namespace kasane::build {
namespace {

// The pulled image beside those of other platforms that the tag names already.
Result<void> name_for_platform(store::Store& store, const std::string& tag, const oci::Platform& platform,
                               const Sha256Digest& image) {
  std::vector<store::PlatformImage> images = TRY(store.platforms_of(tag));
  if (images.empty())
    if (std::optional<Sha256Digest> plain = TRY(store.find_tag(tag)); plain && *plain != image) {
      const store::ImageRow row = TRY(store.image_row(*plain));
      const std::string own = oci::Platform{row.os, row.architecture, row.variant, ""}.normalized().str();
      if (own != platform.str() && oci::Platform::parse(own)) images.emplace_back(own, *plain);
    }
  std::erase_if(images, [&](const store::PlatformImage& one) { return one.first == platform.str(); });
  if (images.empty()) return store.tag(image, tag);
  images.emplace_back(platform.str(), image);
  return store.tag_platforms(tag, images);
}

}  // namespace

Result<Sha256Digest> find_base_image(store::Store& store, const std::string& name,
                                     const oci::Platform& platform) {
  oci::Reference reference = TRY(oci::Reference::parse(name));
  std::string canonical = reference.with_default_tag().canonical();
  if (std::optional<Sha256Digest> own = TRY(store.find_tag_platform(canonical, platform.str()))) return *own;
  Result<Sha256Digest> id = transfer::find_image(store, canonical);
  if (!id && id.error().kind() == ErrorKind::kNotFound)
    return Error(ErrorKind::kNotFound, canonical + ": not found in the store")
        .hint("bring the image in with `kasane pull`, `kasane load` or `kasane import`");
  return id;
}

Result<Sha256Digest> BaseImages::find(const std::string& name, const oci::Platform& platform) {
  std::lock_guard lock(mutex_);
  const std::string key = name + "|" + platform.str();
  if (auto it = found_.find(key); it != found_.end()) return it->second;
  Sha256Digest image = TRY(look_up(name, platform));
  found_.emplace(key, image);
  return image;
}

// An image that came from a registry and is of another platform is no answer: the registry may
// have the right one. What was built or loaded here is taken as it is.
Result<bool> BaseImages::serves(const Sha256Digest& image, const oci::Platform& platform) {
  const store::ImageRow row = TRY(store_.image_row(image));
  if (row.digests.empty()) return true;
  const oci::Platform own = oci::Platform{row.os, row.architecture, row.variant, ""}.normalized();
  for (const oci::Platform& one : oci::platform_fallbacks(platform))
    if (one.os == own.os && one.architecture == own.architecture && one.variant == own.variant) return true;
  return own.os == platform.os && own.architecture == platform.architecture;
}

Result<Sha256Digest> BaseImages::look_up(const std::string& name, const oci::Platform& platform) {
  Result<Sha256Digest> local = find_base_image(store_, name, platform);
  if (!local && local.error().kind() != ErrorKind::kNotFound) return local;
  if (!around_) return local;
  if (local && !always_pull_ && TRY(serves(*local, platform))) return local;
  if (oci::looks_like_id(name)) return local;  // an id is nobody's name
  Result<Sha256Digest> pulled = pull(name, platform);
  if (pulled || always_pull_) return pulled;
  if (pulled.error().kind() == ErrorKind::kCancelled) return pulled;
  if (local) {
    events_.warn(name + ": the registry has no image for " + platform.str() + " (" +
                 pulled.error().full_message() + "); that of the store is used");
    return local;
  }
  return Error(pulled.error().kind(), local.error().message() + ", and not pulled: " + pulled.error().full_message())
      .hint(pulled.error().hint_text());
}

Result<Sha256Digest> BaseImages::pull(const std::string& name, const oci::Platform& platform) {
  oci::Reference reference = TRY(oci::Reference::parse(name)).with_default_tag();
  Span span(events_, "pull " + reference.canonical());
  const auto work = [&]() -> Result<Sha256Digest> {
    oci::Reference wanted = reference;
    if (!wanted.digest.empty()) wanted.tag.clear();
    std::unique_ptr<registry::Repository> repository = TRY(registry::Repository::open(*around_, wanted));
    transfer::PullOptions options;
    // This host's processor may take better variants than its plain name says.
    const bool host = platform == oci::Platform::host();
    if (!host) options.platform = platform;
    options.name_tag = host;
    transfer::PullEvents told;
    told.status = [&](const std::string& id, const std::string& text) { span.log(id + ": " + text + "\n", 2); };
    const transfer::Pulled pulled =
        TRY(transfer::pull(store_, *repository, wanted, options, told, stop_));
    if (pulled.wrong_platform)
      events_.warn(reference.familiar() + " is an image for " + pulled.platform.str() + ", not for " + platform.str());
    if (!host && wanted.digest.empty())
      TRY(name_for_platform(store_, wanted.canonical(), platform, pulled.image));
    span.log("digest " + pulled.digest.str() + "\n", 2);
    return pulled.image;
  };
  Result<Sha256Digest> image = work();
  image ? span.done() : span.fail(image.error());
  return image;
}

}  // namespace kasane::build
