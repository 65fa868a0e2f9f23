#include "serve/manifest_document.h"

#include <fmt/format.h>

#include "base/base64.h"
#include "oci/digest.h"
#include "oci/json.h"
#include "oci/manifest.h"

namespace kasane::serve {
namespace {

using oci::Json;
using oci::JsonReader;

constexpr std::string_view kWhat = "manifest";
constexpr std::string_view kDocumentKeys[] = {"schemaVersion", "mediaType",   "artifactType",
                                              "config",        "layers",      "manifests",
                                              "subject",       "annotations", "fsLayers"};
constexpr std::string_view kDescriptorKeys[] = {
    "mediaType", "digest", "size", "urls", "annotations", "data", "platform", "artifactType"};

Error invalid(std::string message) { return Error(ErrorKind::kInvalid, std::move(message)); }

// Layers that a registry need not hold (image-spec layer.md, docker's foreign layers).
bool is_non_distributable(std::string_view type) {
  return type.starts_with("application/vnd.oci.image.layer.nondistributable.") ||
         type.starts_with("application/vnd.docker.image.rootfs.foreign.");
}

Result<void> check_data(const JsonReader& in, const Json& json, const std::string& digest,
                        int64_t size) {
  const Json* data = json.find("data");
  if (!data || data->is_null()) return {};
  auto bytes = data->is_string() ? decode_base64(data->text, Padding::kRequired) : std::nullopt;
  if (!bytes) return in.error("data", "is not base64");
  auto expected = ContentDigest::parse(digest);
  if (!expected || static_cast<int64_t>(bytes->size()) != size ||
      ContentDigest::of(*bytes, expected->algorithm) != *expected)
    return in.error("data", "does not match the descriptor's digest and size");
  return {};
}

struct Descriptor {
  std::string media_type;
  std::string digest;
  int64_t size = 0;
};

Result<Descriptor> parse_descriptor(const Json& json, const std::string& place) {
  if (!json.is_object()) return invalid(fmt::format("{}: {} is not an object", kWhat, place));
  TRY(oci::refuse_case_variants(json, kDescriptorKeys, kWhat));
  JsonReader in(json, kWhat, place + ".");
  Descriptor out;
  TRY(in.get("mediaType", out.media_type));
  TRY(in.get("digest", out.digest));
  if (!oci::is_digest(out.digest)) return in.error("digest", "is missing or not a digest");
  if (const Json* size = json.find("size"); !size || size->is_null())
    return in.error("size", "is missing");
  TRY(in.get("size", out.size));
  if (out.size < 0) return in.error("size", "is negative");
  TRY(check_data(in, json, out.digest, out.size));
  return out;
}

Result<void> add_list(const JsonReader& in, std::string_view key, bool manifests,
                      ManifestDocument& out) {
  const Json* list = TRY(in.array(key));
  if (!list) return {};
  for (size_t i = 0; i < list->items.size(); ++i) {
    Descriptor item = TRY(parse_descriptor(list->items[i], fmt::format("{}[{}]", key, i)));
    out.references.push_back({item.digest, static_cast<uint64_t>(item.size), manifests,
                              !manifests && is_non_distributable(item.media_type)});
  }
  return {};
}

// The type that the request and the document agree on.
Result<std::string> agreed_type(const JsonReader& in, std::string_view content_type) {
  std::string_view stated = content_type.substr(0, content_type.find(';'));
  while (!stated.empty() && stated.back() == ' ') stated.remove_suffix(1);
  std::string embedded;
  TRY(in.get("mediaType", embedded));
  // What tools send that know of no type.
  if (stated == "application/json" || stated == "application/octet-stream") stated = {};
  if (!embedded.empty() && !stated.empty() && embedded != stated)
    return invalid(fmt::format("manifest: mediaType is \"{}\", but Content-Type says \"{}\"",
                               embedded, stated));
  std::string type = embedded.empty() ? std::string(stated) : embedded;
  if (type.empty()) return invalid("manifest: neither Content-Type nor mediaType says what it is");
  if (!oci::is_manifest_type(type) && !oci::is_index_type(type))
    return Error(ErrorKind::kUnsupported,
                 fmt::format("manifest: \"{}\" is no type of manifest that is kept here", type));
  return type;
}

Result<void> check_shape(const Json& document, bool index) {
  TRY(oci::refuse_case_variants(document, kDocumentKeys, kWhat));
  JsonReader in(document, kWhat);
  int64_t version = 0;
  TRY(in.get("schemaVersion", version));
  if (version == 1 || document.find("fsLayers"))
    return Error(ErrorKind::kUnsupported, "manifest: docker's schema 1 is not supported");
  if (version != 2) return in.error("schemaVersion", "is not 2");
  const bool both = index ? document.find("layers") || document.find("config")
                          : document.find("manifests") != nullptr;
  if (both)
    return invalid("manifest: ambiguous: it is both a manifest and an index");
  return {};
}

}  // namespace

Result<ManifestDocument> ManifestDocument::parse(std::string_view bytes,
                                                 std::string_view content_type) {
  Json document = TRY(Json::parse(bytes, kWhat));
  if (!document.is_object()) return invalid("manifest: not a JSON object");
  JsonReader in(document, kWhat);
  ManifestDocument out;
  out.media_type = TRY(agreed_type(in, content_type));
  TRY(check_shape(document, oci::is_index_type(out.media_type)));
  TRY(in.get("artifactType", out.artifact_type));
  if (oci::is_index_type(out.media_type)) {
    TRY(add_list(in, "manifests", true, out));
  } else {
    const Json* config = TRY(in.object("config"));
    if (!config) return in.error("config", "is missing");
    Descriptor descriptor = TRY(parse_descriptor(*config, "config"));
    out.references.push_back({descriptor.digest, static_cast<uint64_t>(descriptor.size)});
    if (out.artifact_type.empty()) out.artifact_type = descriptor.media_type;
    TRY(add_list(in, "layers", false, out));
  }
  if (const Json* subject = TRY(in.object("subject"))) {
    Descriptor descriptor = TRY(parse_descriptor(*subject, "subject"));
    out.subject = ContentDigest::parse(descriptor.digest);
    if (!out.subject) return in.error("subject", "has a digest of an unknown algorithm");
  }
  if (const Json* annotations = TRY(in.object("annotations"))) annotations->write(out.annotations);
  return out;
}

std::string ManifestDocument::referrer_descriptor(const ContentDigest& digest,
                                                  uint64_t size) const {
  std::string out = "{\"mediaType\":";
  oci::write_json_string(out, media_type);
  out += fmt::format(",\"digest\":\"{}\",\"size\":{}", digest.str(), size);
  if (!annotations.empty()) out += ",\"annotations\":" + annotations;
  if (!artifact_type.empty()) {
    out += ",\"artifactType\":";
    oci::write_json_string(out, artifact_type);
  }
  return out + "}";
}

}  // namespace kasane::serve
