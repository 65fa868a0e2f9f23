#include "transfer/docker_archive.h"

#include "oci/json.h"

namespace kasane::transfer {
namespace {

std::string list_json(const std::vector<std::string>& items) {
  std::string out = "[";
  for (const std::string& item : items) {
    if (out.size() > 1) out += ',';
    oci::write_json_string(out, item);
  }
  return out + "]";
}

}  // namespace

Result<std::vector<DockerArchiveImage>> parse_docker_archive(const std::string& text) {
  oci::Json json = TRY(oci::Json::parse(text, "manifest.json"));
  if (!json.is_array()) return Error(ErrorKind::kInvalid, "manifest.json is not a list");
  std::vector<DockerArchiveImage> images;
  for (const oci::Json& item : json.items) {
    if (!item.is_object()) return Error(ErrorKind::kInvalid, "manifest.json: an image is not an object");
    DockerArchiveImage image;
    oci::JsonReader reader(item, "manifest.json");
    TRY(reader.get("Config", image.config));
    TRY(reader.get("Layers", image.layers));
    TRY(reader.get("RepoTags", image.tags));
    images.push_back(std::move(image));
  }
  return images;
}

std::string write_docker_archive_manifest(const std::vector<DockerArchiveImage>& images) {
  std::string out = "[";
  for (const DockerArchiveImage& image : images) {
    if (out.size() > 1) out += ',';
    out += "{\"Config\":";
    oci::write_json_string(out, image.config);
    out += ",\"RepoTags\":" + (image.tags.empty() ? std::string("null") : list_json(image.tags)) +
           ",\"Layers\":" + list_json(image.layers) + "}";
  }
  return out + "]\n";
}

}  // namespace kasane::transfer
