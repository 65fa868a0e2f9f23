// load: docker-archive (manifest.json) and OCI layout (index.json) into the store.
#include <fmt/format.h>

#include <algorithm>

#include "base/compress.h"
#include "oci/json.h"
#include "oci/manifest.h"
#include "oci/reference.h"
#include "transfer/archive_view.h"
#include "transfer/docker_archive.h"
#include "transfer/transfer.h"

namespace kasane::transfer {
namespace {

constexpr int kMaxIndexDepth = 8;        // reference R1
constexpr size_t kMaxManifests = 10'000;

std::string blob_path(const std::string& digest) {
  return "blobs/" + std::string(digest).replace(digest.find(':'), 1, "/");
}

Result<std::string> required(ArchiveView& archive, const std::string& path) {
  std::optional<std::string> text = TRY(archive.document(path));
  if (!text) return Error(ErrorKind::kInvalid, "the archive has no " + path);
  return std::move(*text);
}

// One image of the archive, read and checked, not yet in the store.
struct CheckedImage {
  store::ImageRecord record;
  Sha256Digest id;
};

// Checks the layers against the config.
Result<CheckedImage> check_image(ArchiveView& archive, std::string config_json,
                                 const std::vector<std::string>& layer_paths) {
  oci::ImageConfig config = TRY(oci::ImageConfig::parse(config_json));
  if (config.diff_ids.size() != layer_paths.size())
    return Error(ErrorKind::kInvalid,
                 fmt::format("invalid manifest, layers length mismatch: expected {}, got {}",
                             config.diff_ids.size(), layer_paths.size()));
  for (size_t i = 0; i < layer_paths.size(); ++i) {
    Sha256Digest diff_id = TRY(archive.layer(layer_paths[i]));
    if (diff_id != config.diff_ids[i])
      return Error(ErrorKind::kCorrupt, fmt::format("invalid diffID for layer {}: expected \"{}\", got \"{}\"",
                                                    i, config.diff_ids[i].str(), diff_id.str()));
  }
  CheckedImage image;
  image.id = sha256(config_json);
  image.record.config_json = std::move(config_json);
  image.record.diff_ids = config.diff_ids;
  return image;
}

// Image and tags become visible in one transaction, so that no other process sees (and
// prunes) the image without its names.
Result<LoadedImage> store_checked(store::Store& store, CheckedImage image,
                                  const std::vector<std::string>& names) {
  LoadedImage loaded;
  loaded.image = image.id;
  for (const std::string& name : names) {
    Result<oci::Reference> reference = oci::Reference::parse(name);
    if (!reference) return std::move(reference.error()).context("invalid tag \"" + name + "\"");
    std::string canonical = reference->with_default_tag().canonical();
    std::optional<Sha256Digest> old = TRY(store.find_tag(canonical));
    if (old && *old != image.id) loaded.replaced.push_back({canonical, *old});
    loaded.tags.push_back(std::move(canonical));
  }
  image.record.tags = loaded.tags;
  TRY(store.put_image(image.record));
  return loaded;
}

Result<std::vector<LoadedImage>> load_docker(store::Store& store, ArchiveView& archive,
                                             const std::string& manifest) {
  std::vector<DockerArchiveImage> images = TRY(parse_docker_archive(manifest));
  std::vector<LoadedImage> loaded;
  for (const DockerArchiveImage& image : images) {
    std::string config = TRY(required(archive, image.config));
    CheckedImage checked = TRY(check_image(archive, std::move(config), image.layers));
    loaded.push_back(TRY(store_checked(store, std::move(checked), image.tags)));
  }
  return loaded;
}

// A reference that a layout's descriptor carries: containerd's full name, or ref.name when
// it is more than a bare tag.
std::string name_of(const oci::Descriptor& descriptor) {
  auto full = descriptor.annotations.find("io.containerd.image.name");
  if (full != descriptor.annotations.end()) return full->second;
  auto name = descriptor.annotations.find("org.opencontainers.image.ref.name");
  if (name == descriptor.annotations.end()) return {};
  bool bare_tag = name->second.find(':') == std::string::npos && name->second.find('/') == std::string::npos;
  return bare_tag ? std::string() : name->second;
}

// How well a platform serves one that was asked for; 0: not at all.
int fitness(const std::optional<oci::Platform>& offered, const oci::Platform& wanted) {
  if (!offered) return 1;
  oci::Platform platform = offered->normalized();
  if (platform.os != wanted.os || platform.architecture != wanted.architecture) return 0;
  return platform.variant == wanted.variant ? 3 : 2;
}

// The manifest for a platform below a descriptor; nullopt when an index has none.
Result<std::optional<oci::Descriptor>> choose_manifest(ArchiveView& archive, oci::Descriptor descriptor,
                                                       const oci::Platform& platform) {
  for (int depth = 0; oci::is_index_type(descriptor.media_type); ++depth) {
    if (depth >= kMaxIndexDepth) return Error(ErrorKind::kLimit, "image indexes are nested too deeply");
    oci::Index index = TRY(oci::Index::parse(TRY(required(archive, blob_path(descriptor.digest)))));
    if (index.manifests.size() > kMaxManifests)
      return Error(ErrorKind::kLimit, "image index has too many manifests");
    std::optional<oci::Descriptor> chosen;
    int best = 0;
    for (const oci::Descriptor& candidate : index.manifests) {
      int fits = fitness(candidate.platform, platform);
      if (fits > best) chosen = candidate;
      best = std::max(best, fits);
    }
    if (!chosen) return std::optional<oci::Descriptor>();
    descriptor = std::move(*chosen);
  }
  return std::optional<oci::Descriptor>(std::move(descriptor));
}

Result<LoadedImage> load_manifest(store::Store& store, ArchiveView& archive,
                                  const oci::Descriptor& descriptor, const std::string& name) {
  std::string manifest_json = TRY(required(archive, blob_path(descriptor.digest)));
  oci::Manifest manifest = TRY(oci::Manifest::parse(manifest_json));
  std::string config = TRY(required(archive, blob_path(manifest.config.digest)));
  std::vector<std::string> layers;
  for (const oci::Descriptor& layer : manifest.layers) layers.push_back(blob_path(layer.digest));
  CheckedImage checked = TRY(check_image(archive, std::move(config), layers));
  checked.record.manifest_json = std::move(manifest_json);
  checked.record.manifest_media_type = descriptor.media_type;
  std::vector<std::string> names;
  if (!name.empty()) names.push_back(name);
  return store_checked(store, std::move(checked), names);
}

Result<std::vector<LoadedImage>> load_layout(store::Store& store, ArchiveView& archive,
                                             const std::string& index_json) {
  oci::Index index = TRY(oci::Index::parse(index_json));
  std::vector<LoadedImage> loaded;
  for (const oci::Descriptor& descriptor : index.manifests) {
    std::optional<oci::Descriptor> manifest = TRY(choose_manifest(archive, descriptor, oci::Platform::host()));
    if (!manifest)
      return Error(ErrorKind::kNotFound, "requested platform(s) ([" + oci::Platform::host().str() +
                                             "]) not found in the archive");
    LoadedImage one = TRY(load_manifest(store, archive, *manifest, name_of(descriptor)));
    auto known = std::find_if(loaded.begin(), loaded.end(),
                              [&](const LoadedImage& image) { return image.image == one.image; });
    if (known == loaded.end()) {
      loaded.push_back(std::move(one));
      continue;
    }
    known->tags.insert(known->tags.end(), one.tags.begin(), one.tags.end());
    known->replaced.insert(known->replaced.end(), one.replaced.begin(), one.replaced.end());
  }
  return loaded;
}

Result<std::vector<LoadedImage>> load_archive(store::Store& store, ArchiveView& archive) {
  if (std::optional<std::string> manifest = TRY(archive.document("manifest.json")))
    return load_docker(store, archive, *manifest);
  std::optional<std::string> index = TRY(archive.document("index.json"));
  if (index) return load_layout(store, archive, *index);
  return Error(ErrorKind::kInvalid, "neither manifest.json nor index.json is in the archive")
      .hint("load takes what `save` writes; a root file system tar is for `kasane import`");
}

}  // namespace

Result<std::vector<LoadedImage>> load(store::Store& store, ByteSource& archive, EventBus& events) {
  TRY(store.hold());
  Span span(events, "load archive");
  auto run = [&]() -> Result<std::vector<LoadedImage>> {
    OpenedStream opened = TRY(open_decompressed(archive));
    std::unique_ptr<ArchiveView> view = TRY(read_tar_archive(store, *opened.source));
    return load_archive(store, *view);
  };
  Result<std::vector<LoadedImage>> loaded = run();
  loaded ? span.done() : span.fail(loaded.error());
  return loaded;
}

Result<std::vector<LoadedImage>> load_directory(store::Store& store, const std::string& path,
                                                EventBus& events) {
  TRY(store.hold());
  Span span(events, "load " + path);
  std::unique_ptr<ArchiveView> view = TRY(open_layout_directory(store, path));
  Result<std::vector<LoadedImage>> loaded = load_archive(store, *view);
  loaded ? span.done() : span.fail(loaded.error());
  return loaded;
}

Result<Sha256Digest> load_layout_image(store::Store& store, const std::string& location,
                                       const oci::Platform& platform, EventBus& events) {
  TRY(store.hold());
  Span span(events, "load " + location);
  auto run = [&]() -> Result<Sha256Digest> {
    size_t name_begin = location.rfind('/') == std::string::npos ? 0 : location.rfind('/');
    size_t mark = location.find('@');
    if (mark == std::string::npos) mark = location.find(':', name_begin);
    std::string selector = mark == std::string::npos ? "" : location.substr(mark + 1);
    std::unique_ptr<ArchiveView> view = TRY(open_layout_directory(store, location.substr(0, mark)));
    oci::Index index = TRY(oci::Index::parse(TRY(required(*view, "index.json"))));
    const oci::Descriptor* chosen = nullptr;
    for (const oci::Descriptor& descriptor : index.manifests) {
      auto name = descriptor.annotations.find("org.opencontainers.image.ref.name");
      bool named = name != descriptor.annotations.end() && name->second == selector;
      if (selector.empty() ? !chosen : named || descriptor.digest == selector) chosen = &descriptor;
    }
    if (!chosen)
      return Error(ErrorKind::kNotFound, selector.empty() ? "the layout has no image"
                                                          : "the layout has no image " + selector);
    std::optional<oci::Descriptor> manifest = TRY(choose_manifest(*view, *chosen, platform));
    if (!manifest)
      return Error(ErrorKind::kNotFound, "no image for platform " + platform.str() + " in the layout");
    return TRY(load_manifest(store, *view, *manifest, "")).image;
  };
  Result<Sha256Digest> image = run();
  image ? span.done() : span.fail(image.error());
  return image;
}

}  // namespace kasane::transfer
