// save: docker-archive and OCI layout in one tar (reference 3.2). Entries come in sorted
// order with fixed times and modes, so equal images give equal archives.
#include <algorithm>
#include <map>

#include "oci/json.h"
#include "oci/manifest.h"
#include "oci/reference.h"
#include "store/layer.h"
#include "transfer/export_internal.h"
#include "transfer/transfer.h"

namespace kasane::transfer {
namespace {

std::string blob_path(const std::string& hex) { return "blobs/sha256/" + hex; }

std::string json_string(std::string_view text) {
  std::string out;
  oci::write_json_string(out, text);
  return out;
}

// One distinct image of the archive.
struct SavedImage {
  std::string config_json;
  oci::ImageConfig config;
  std::string manifest_json;
  Sha256Digest manifest_digest;
  std::vector<store::LayerPtr> layers;
  std::vector<std::string> references;
  std::map<std::string, std::string> descriptor_annotations;
};

struct Archive {
  std::vector<std::pair<Sha256Digest, SavedImage>> images;  // argument order
  std::map<std::string, store::LayerPtr> layers;            // by hex of DiffID
  std::map<std::string, const std::string*> documents;      // by hex: configs and manifests
};

std::string make_manifest(const SavedImage& image, const Sha256Digest& id,
                          const std::map<std::string, std::string>& annotations) {
  oci::Manifest manifest;
  manifest.annotations = annotations;
  manifest.media_type = oci::kMediaTypeManifest;
  manifest.config.media_type = oci::kMediaTypeConfig;
  manifest.config.digest = id.str();
  manifest.config.size = static_cast<int64_t>(image.config_json.size());
  for (const store::LayerPtr& layer : image.layers) {
    oci::Descriptor descriptor;
    descriptor.media_type = oci::kMediaTypeLayer;
    descriptor.digest = layer->diff_id().str();
    descriptor.size = static_cast<int64_t>(layer->index().summary().tar_size);
    manifest.layers.push_back(std::move(descriptor));
  }
  return manifest.serialize();
}

Result<SavedImage> collect_image(store::Store& store, const ArchiveImage& source,
                                 const Sha256Digest& id) {
  SavedImage image;
  image.config_json = source.config_json;
  image.config = TRY(oci::ImageConfig::parse(image.config_json));
  for (const Sha256Digest& diff_id : image.config.diff_ids)
    image.layers.push_back(TRY_CONTEXT(store::open_layer(store, diff_id), "image " + id.str()));
  image.manifest_json = make_manifest(image, id, source.annotations);
  image.manifest_digest = sha256(image.manifest_json);
  image.descriptor_annotations = source.descriptor_annotations;
  return image;
}

Result<Archive> collect(store::Store& store, const std::vector<ArchiveImage>& images) {
  Archive archive;
  for (const ArchiveImage& item : images) {
    const Sha256Digest id = sha256(item.config_json);
    auto known = std::find_if(archive.images.begin(), archive.images.end(),
                              [&](const auto& pair) { return pair.first == id; });
    if (known == archive.images.end()) {
      archive.images.emplace_back(id, TRY(collect_image(store, item, id)));
      known = archive.images.end() - 1;
    }
    for (const std::string& reference : item.references)
      if (std::find(known->second.references.begin(), known->second.references.end(), reference) ==
          known->second.references.end())
        known->second.references.push_back(reference);
  }
  for (auto& [id, image] : archive.images) {
    archive.documents[id.hex()] = &image.config_json;
    archive.documents[image.manifest_digest.hex()] = &image.manifest_json;
    for (const store::LayerPtr& layer : image.layers) archive.layers[layer->diff_id().hex()] = layer;
  }
  return archive;
}

std::string tag_of(const std::string& reference) {
  Result<oci::Reference> parsed = oci::Reference::parse(reference);
  return parsed ? parsed->tag : std::string();
}

oci::Descriptor describe(const SavedImage& image) {
  oci::Descriptor descriptor;
  descriptor.media_type = oci::kMediaTypeManifest;
  descriptor.digest = image.manifest_digest.str();
  descriptor.size = static_cast<int64_t>(image.manifest_json.size());
  descriptor.annotations = image.descriptor_annotations;
  oci::Platform platform;
  platform.os = image.config.os;
  platform.architecture = image.config.architecture;
  platform.variant = image.config.variant;
  if (!platform.os.empty() && !platform.architecture.empty()) descriptor.platform = platform;
  return descriptor;
}

std::string make_index(const Archive& archive) {
  oci::Index index;
  index.media_type = oci::kMediaTypeIndex;
  for (const auto& [id, image] : archive.images) {
    const oci::Descriptor descriptor = describe(image);
    if (image.references.empty()) index.manifests.push_back(descriptor);
    for (const std::string& reference : image.references) {
      oci::Descriptor named = descriptor;
      named.annotations[std::string(kImageNameAnnotation)] = reference;
      named.annotations[std::string(kRefNameAnnotation)] = tag_of(reference);
      index.manifests.push_back(std::move(named));
    }
  }
  return index.serialize();
}

std::string make_docker_manifest(const Archive& archive) {
  std::string out = "[";
  for (const auto& [id, image] : archive.images) {
    if (out.size() > 1) out += ',';
    out += "{\"Config\":" + json_string(blob_path(id.hex())) + ",\"RepoTags\":";
    if (image.references.empty()) {
      out += "null";
    } else {
      std::string tags;
      for (const std::string& reference : image.references)
        tags += (tags.empty() ? "" : ",") + json_string(oci::familiar(reference));
      out += "[" + tags + "]";
    }
    std::string layers;
    std::map<std::string, std::string> sources;
    for (const store::LayerPtr& layer : image.layers) {
      layers += (layers.empty() ? "" : ",") + json_string(blob_path(layer->diff_id().hex()));
      sources[layer->diff_id().str()] =
          "{\"mediaType\":" + json_string(oci::kMediaTypeLayer) +
          ",\"size\":" + std::to_string(layer->index().summary().tar_size) +
          ",\"digest\":" + json_string(layer->diff_id().str()) + "}";
    }
    out += ",\"Layers\":[" + layers + "],\"LayerSources\":{";
    std::string separator;
    for (const auto& [diff_id, source] : sources) {
      out += separator + json_string(diff_id) + ":" + source;
      separator = ",";
    }
    out += "}}";
  }
  return out + "]\n";
}

std::string make_repositories(const Archive& archive) {
  std::map<std::string, std::map<std::string, std::string>> names;
  for (const auto& [id, image] : archive.images) {
    if (image.layers.empty()) continue;
    for (const std::string& reference : image.references)
      if (Result<oci::Reference> parsed = oci::Reference::parse(reference))
        names[parsed->familiar_name()][parsed->tag] = image.layers.back()->diff_id().hex();
  }
  std::string out = "{";
  for (const auto& [name, tags] : names) {
    if (out.size() > 1) out += ',';
    out += json_string(name) + ":{";
    std::string separator;
    for (const auto& [tag, layer] : tags) {
      out += separator + json_string(tag) + ":" + json_string(layer);
      separator = ",";
    }
    out += '}';
  }
  return out + "}\n";
}

Result<void> write_blobs(const Archive& archive, ArchiveWriter& writer) {
  TRY(writer.directory("blobs"));
  TRY(writer.directory("blobs/sha256"));
  auto layer = archive.layers.begin();
  auto document = archive.documents.begin();
  while (layer != archive.layers.end() || document != archive.documents.end()) {
    bool document_first = layer == archive.layers.end() ||
                          (document != archive.documents.end() && document->first < layer->first);
    if (document_first) {
      TRY(writer.text(blob_path(document->first), *document->second));
      ++document;
    } else {
      const store::LayerSummary& summary = layer->second->index().summary();
      std::unique_ptr<ByteSource> tar = TRY(layer->second->open_tar());
      TRY(writer.stream(blob_path(layer->first), summary.tar_size, summary.diff_id, *tar));
      ++layer;
    }
  }
  return {};
}

}  // namespace

Result<WrittenArchive> write_docker_archive(store::Store& store,
                                            const std::vector<ArchiveImage>& images, ByteSink& out,
                                            int64_t mtime) {
  TRY(store.hold());
  Archive archive = TRY(collect(store, images));
  ArchiveWriter writer(out, mtime);
  TRY(write_blobs(archive, writer));
  TRY(writer.text("index.json", make_index(archive)));
  TRY(writer.text("manifest.json", make_docker_manifest(archive)));
  TRY(writer.text("oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}"));
  TRY(writer.text("repositories", make_repositories(archive)));
  TRY(writer.finish());
  WrittenArchive written;
  for (const auto& [id, image] : archive.images) written.manifests.push_back(describe(image));
  return written;
}

Result<void> save(store::Store& store, const std::vector<SaveItem>& items, ByteSink& out) {
  TRY(store.hold());
  std::vector<ArchiveImage> images;
  for (const SaveItem& item : items) {
    ArchiveImage image;
    image.config_json = TRY(store.image_config(item.image));
    image.references = item.references;
    images.push_back(std::move(image));
  }
  TRY(write_docker_archive(store, images, out));
  return {};
}

}  // namespace kasane::transfer
