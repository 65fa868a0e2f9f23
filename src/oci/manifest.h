// Manifests, indexes and descriptors: OCI image-spec manifest.md, image-index.md,
// descriptor.md, and docker's schema 2 forms. Raw bytes are kept by the callers; these
// values are for reading and for writing new documents.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "oci/platform.h"

namespace kasane::oci {

inline constexpr std::string_view kMediaTypeManifest = "application/vnd.oci.image.manifest.v1+json";
inline constexpr std::string_view kMediaTypeIndex = "application/vnd.oci.image.index.v1+json";
inline constexpr std::string_view kMediaTypeConfig = "application/vnd.oci.image.config.v1+json";
inline constexpr std::string_view kMediaTypeLayer = "application/vnd.oci.image.layer.v1.tar";
inline constexpr std::string_view kMediaTypeLayerGzip = "application/vnd.oci.image.layer.v1.tar+gzip";
inline constexpr std::string_view kMediaTypeLayerZstd = "application/vnd.oci.image.layer.v1.tar+zstd";
inline constexpr std::string_view kDockerManifest = "application/vnd.docker.distribution.manifest.v2+json";
inline constexpr std::string_view kDockerIndex = "application/vnd.docker.distribution.manifest.list.v2+json";

// Of one image, and of a list of them, in OCI's words or docker's.
inline bool is_manifest_type(std::string_view type) {
  return type == kMediaTypeManifest || type == kDockerManifest;
}
inline bool is_index_type(std::string_view type) {
  return type == kMediaTypeIndex || type == kDockerIndex;
}

struct Descriptor {
  std::string media_type;
  std::string digest;
  int64_t size = 0;
  std::map<std::string, std::string> annotations;
  std::optional<Platform> platform;
  std::vector<std::string> urls;
  std::string data = {};  // the content itself, when the document carries it (checked by parse)
};

// Layers that registries need not hold: "foreign" in docker's words.
inline bool is_foreign_layer(const Descriptor& layer) {
  return layer.media_type.find(".nondistributable.") != std::string::npos ||
         layer.media_type.find(".foreign.") != std::string::npos;
}

struct Manifest {
  std::string media_type;
  Descriptor config;
  std::vector<Descriptor> layers;
  std::map<std::string, std::string> annotations;
  // R1, R2: ambiguous documents (manifests + layers, duplicate or case-variant keys,
  // negative sizes, too deep, too large) are refused.
  static Result<Manifest> parse(std::string_view json);
  std::string serialize() const;  // compact, fixed member order
};

struct Index {
  std::string media_type;
  std::vector<Descriptor> manifests;
  std::map<std::string, std::string> annotations;
  static Result<Index> parse(std::string_view json);
  std::string serialize() const;
};

}  // namespace kasane::oci
