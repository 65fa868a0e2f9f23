// Telling manifests, indexes and what is neither apart.
#include "base/text.h"
#include "oci/json.h"
#include "oci/manifest.h"
#include "registry/repository.h"

namespace kasane::registry {
namespace {

std::string base_type(std::string text) {
  text = text.substr(0, text.find(';'));
  while (text.ends_with(' ')) text.pop_back();
  return ascii_lower(text);
}


}  // namespace

const std::string kAcceptManifests =
    "Accept: application/vnd.docker.distribution.manifest.v2+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, */*";

Result<Document> classify(std::string bytes, const std::string& content_type) {
  Document out;
  const oci::Json json = TRY(oci::Json::parse(bytes, "manifest"));
  if (!json.is_object()) return Error(ErrorKind::kInvalid, "manifest: not a JSON object");
  oci::JsonReader in(json, "manifest");
  int64_t version = 0;
  TRY(in.get("schemaVersion", version));
  TRY(in.get("mediaType", out.media_type));
  if (version == 1 || json.find("fsLayers") || json.find("signatures"))
    return Error(ErrorKind::kUnsupported,
                 "Docker Image Format v1 and Docker Image manifest version 2, schema 1 support has been "
                 "removed")
        .hint("push the image again with a tool that writes schema 2 or OCI manifests");
  const std::string header = base_type(content_type);
  const bool telling = oci::is_manifest_type(header) || oci::is_index_type(header);
  if (telling && !out.media_type.empty() && header != out.media_type)
    return Error(ErrorKind::kInvalid, "ambiguous manifest: it is sent as " + header + " but calls itself " +
                                          out.media_type.substr(0, 200));
  out.is_index = json.find("manifests") != nullptr;
  const bool manifest = json.find("config") && json.find("layers");
  if (out.is_index && (json.find("config") || json.find("layers")))
    return Error(ErrorKind::kInvalid, "ambiguous manifest: it is both a manifest and an index");
  if (!out.is_index && !manifest)
    return Error(ErrorKind::kUnsupported, "unsupported media type " +
                                              (out.media_type.empty() ? header : out.media_type.substr(0, 200)));
  if (out.media_type.empty()) out.media_type = telling ? header : "";
  if (out.media_type.empty()) out.media_type = out.is_index ? oci::kMediaTypeIndex : oci::kMediaTypeManifest;
  if (out.is_index ? !oci::is_index_type(out.media_type) : !oci::is_manifest_type(out.media_type))
    return Error(ErrorKind::kInvalid, "ambiguous manifest: its members are not those of " +
                                          out.media_type.substr(0, 200));
  out.digest = sha256(bytes);
  out.bytes = std::move(bytes);
  return out;
}

}  // namespace kasane::registry
