#include "oci/manifest.h"

#include "base/base64.h"
#include "base/hash.h"
#include "oci/digest.h"
#include "oci/json.h"

namespace kasane::oci {
namespace {

constexpr std::string_view kDocumentKeys[] = {"schemaVersion", "mediaType",   "artifactType",
                                              "config",        "layers",      "manifests",
                                              "subject",       "annotations", "fsLayers"};
constexpr std::string_view kDescriptorKeys[] = {
    "mediaType", "digest", "size", "urls", "annotations", "data", "platform", "artifactType"};
constexpr std::string_view kPlatformKeys[] = {"architecture", "os", "os.version", "os.features",
                                              "variant"};

Error invalid(std::string message) { return Error(ErrorKind::kInvalid, std::move(message)); }

Result<Platform> parse_platform(const Json& json, std::string_view what) {
  TRY(refuse_case_variants(json, kPlatformKeys, what));
  JsonReader in(json, what, "platform.");
  Platform out;
  out.os.clear();
  TRY(in.get("os", out.os));
  TRY(in.get("architecture", out.architecture));
  TRY(in.get("variant", out.variant));
  TRY(in.get("os.version", out.os_version));
  return out;
}

// R6: bytes carried inside a descriptor must be the ones that it names.
Result<void> read_data(const JsonReader& in, const Json& json, Descriptor& descriptor) {
  const Json* data = json.find("data");
  if (!data || data->is_null()) return {};
  auto bytes = data->is_string() ? decode_base64(data->text, Padding::kRequired) : std::nullopt;
  if (!bytes) return in.error("data", "is not base64");
  auto digest = Sha256Digest::parse(descriptor.digest);
  if (!digest || static_cast<int64_t>(bytes->size()) != descriptor.size ||
      sha256(*bytes) != *digest)
    return in.error("data", "does not match the descriptor's digest and size");
  descriptor.data = std::move(*bytes);
  return {};
}

Result<Descriptor> parse_descriptor(const Json& json, std::string_view what, std::string place) {
  if (!json.is_object()) return invalid(std::string(what) + ": " + place + " is not an object");
  TRY(refuse_case_variants(json, kDescriptorKeys, what));
  JsonReader in(json, what, std::move(place) + ".");
  Descriptor out;
  TRY(in.get("mediaType", out.media_type));
  TRY(in.get("digest", out.digest));
  if (!is_digest(out.digest)) return in.error("digest", "is missing or not a digest");
  if (const Json* size = json.find("size"); !size || size->is_null())
    return in.error("size", "is missing");
  TRY(in.get("size", out.size));
  if (out.size < 0) return in.error("size", "is negative");
  TRY(in.get("annotations", out.annotations));
  TRY(in.get("urls", out.urls));
  if (const Json* platform = TRY(in.object("platform")))
    out.platform = TRY(parse_platform(*platform, what));
  TRY(read_data(in, json, out));
  return out;
}

Result<std::vector<Descriptor>> parse_descriptors(const JsonReader& in, std::string_view what,
                                                  std::string_view key) {
  const Json* list = TRY(in.array(key));
  if (!list) return in.error(key, "is missing");
  std::vector<Descriptor> out;
  for (size_t i = 0; i < list->items.size(); ++i)
    out.push_back(TRY(
        parse_descriptor(list->items[i], what, std::string(key) + "[" + std::to_string(i) + "]")));
  return out;
}

// What both documents share: version, media type, and no second meaning (CVE-2021-41190).
Result<Json> open_document(std::string_view json, std::string_view what, KeyList media_types,
                           std::string& media_type) {
  Json document = TRY(Json::parse(json, what));
  if (!document.is_object()) return invalid(std::string(what) + ": not a JSON object");
  TRY(refuse_case_variants(document, kDocumentKeys, what));
  if (document.find("manifests") && (document.find("layers") || document.find("config")))
    return invalid(std::string(what) + ": ambiguous: it is both a manifest and an index");
  JsonReader in(document, what);
  int64_t version = 0;
  TRY(in.get("schemaVersion", version));
  if (version == 1 || document.find("fsLayers"))
    return Error(ErrorKind::kUnsupported, std::string(what) +
                                              ": docker's schema 1 is not "
                                              "supported")
        .hint("push the image again with a tool that writes schema 2 or OCI manifests");
  if (version != 2) return in.error("schemaVersion", "is not 2");
  TRY(in.get("mediaType", media_type));
  bool fits = media_type.empty();
  for (std::string_view accepted : media_types) fits = fits || media_type == accepted;
  if (!fits) return in.error("mediaType", "is \"" + media_type + "\", not that of this document");
  return document;
}

// ---- writing

void write_text(std::string& out, std::string_view name, std::string_view value) {
  write_json_string(out, name);
  out += ':';
  write_json_string(out, value);
}

void write_map(std::string& out, std::string_view name,
               const std::map<std::string, std::string>& map) {
  if (map.empty()) return;
  out += ',';
  write_json_string(out, name);
  out += ":{";
  bool first = true;
  for (const auto& [key, value] : map) {
    if (!first) out += ',';
    first = false;
    write_text(out, key, value);
  }
  out += '}';
}

void write_platform(std::string& out, const Platform& platform) {
  out += ",\"platform\":{";
  write_text(out, "architecture", platform.architecture);
  out += ',';
  write_text(out, "os", platform.os);
  auto optional = [&](std::string_view name, const std::string& value) {
    if (value.empty()) return;
    out += ',';
    write_text(out, name, value);
  };
  optional("os.version", platform.os_version);
  optional("variant", platform.variant);
  out += '}';
}

// Member order of ocispec.Descriptor.
void write_descriptor(std::string& out, const Descriptor& descriptor) {
  out += '{';
  write_text(out, "mediaType", descriptor.media_type);
  out += ',';
  write_text(out, "digest", descriptor.digest);
  out += ",\"size\":" + std::to_string(descriptor.size);
  for (size_t i = 0; i < descriptor.urls.size(); ++i) {
    out += i == 0 ? ",\"urls\":[" : ",";
    write_json_string(out, descriptor.urls[i]);
  }
  if (!descriptor.urls.empty()) out += ']';
  write_map(out, "annotations", descriptor.annotations);
  if (!descriptor.data.empty()) {
    out += ',';
    write_text(out, "data", base64(descriptor.data));
  }
  if (descriptor.platform) write_platform(out, *descriptor.platform);
  out += '}';
}

void write_descriptors(std::string& out, const std::vector<Descriptor>& list) {
  out += '[';
  for (size_t i = 0; i < list.size(); ++i) {
    if (i > 0) out += ',';
    write_descriptor(out, list[i]);
  }
  out += ']';
}

std::string document_head(const std::string& media_type) {
  std::string out = "{\"schemaVersion\":2,";
  if (!media_type.empty()) {
    write_text(out, "mediaType", media_type);
    out += ',';
  }
  return out;
}

}  // namespace

Result<Manifest> Manifest::parse(std::string_view json) {
  constexpr std::string_view kWhat = "image manifest";
  constexpr std::string_view kTypes[] = {kMediaTypeManifest, kDockerManifest};
  Manifest out;
  Json document = TRY(open_document(json, kWhat, kTypes, out.media_type));
  JsonReader in(document, kWhat);
  const Json* config = TRY(in.object("config"));
  if (!config) return in.error("config", "is missing");
  out.config = TRY(parse_descriptor(*config, kWhat, "config"));
  out.layers = TRY(parse_descriptors(in, kWhat, "layers"));
  TRY(in.get("annotations", out.annotations));
  return out;
}

std::string Manifest::serialize() const {
  std::string out = document_head(media_type);
  out += "\"config\":";
  write_descriptor(out, config);
  out += ",\"layers\":";
  write_descriptors(out, layers);
  write_map(out, "annotations", annotations);
  return out + '}';
}

Result<Index> Index::parse(std::string_view json) {
  constexpr std::string_view kWhat = "image index";
  constexpr std::string_view kTypes[] = {kMediaTypeIndex, kDockerIndex};
  Index out;
  Json document = TRY(open_document(json, kWhat, kTypes, out.media_type));
  JsonReader in(document, kWhat);
  out.manifests = TRY(parse_descriptors(in, kWhat, "manifests"));
  TRY(in.get("annotations", out.annotations));
  return out;
}

std::string Index::serialize() const {
  std::string out = document_head(media_type);
  out += "\"manifests\":";
  write_descriptors(out, manifests);
  write_map(out, "annotations", annotations);
  return out + '}';
}

}  // namespace kasane::oci
