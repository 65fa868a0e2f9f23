#include "transfer/oci_documents.h"

#include <algorithm>
#include <iterator>

#include "oci/image_config.h"

namespace kasane::transfer {
namespace {

constexpr std::string_view kDockerConfig = "application/vnd.docker.container.image.v1+json";
constexpr std::string_view kEmptyType = "application/vnd.oci.empty.v1+json";
constexpr std::string_view kEmptyJson = "{}";
constexpr std::string_view kEmptyBase64 = "e30=";
constexpr std::string_view kInToto = "application/vnd.in-toto+json";
constexpr std::string_view kPredicateType = "in-toto.io/predicate-type";
constexpr std::string_view kArtifactType = "application/vnd.docker.attestation.manifest.v1+json";
constexpr std::string_view kRewritten = "buildkit/rewritten-timestamp";

std::string quoted(std::string_view text) {
  std::string out;
  oci::write_json_string(out, text);
  return out;
}

}  // namespace

OciDocuments::OciDocuments(const ExportOptions& options, const std::vector<BuiltPlatform>& built,
                           std::map<Sha256Digest, OutputBlob> layers)
    : options_(options), built_(built), layers_(std::move(layers)) {
  build();
}

oci::Descriptor OciDocuments::add_text(std::string text, std::string_view media_type) {
  OutputBlob blob;
  blob.digest = sha256(text);
  blob.size = text.size();
  blob.text = std::move(text);
  oci::Descriptor descriptor;
  descriptor.media_type = media_type;
  descriptor.digest = blob.digest.str();
  descriptor.size = static_cast<int64_t>(blob.size);
  add_blob(blob);
  return descriptor;
}

oci::Descriptor OciDocuments::add_manifest(const BuiltPlatform& built) {
  const bool oci_types = options_.oci_media_types;
  oci::Manifest manifest;
  manifest.media_type = oci_types ? oci::kMediaTypeManifest : oci::kDockerManifest;
  manifest.config = add_text(built.config_json, oci_types ? oci::kMediaTypeConfig : kDockerConfig);
  for (const Sha256Digest& diff_id : built.diff_ids) {
    const OutputBlob& blob = layers_.at(diff_id);
    add_blob(blob);
    oci::Descriptor layer;
    layer.media_type = blob.media_type;
    layer.digest = blob.digest.str();
    layer.size = static_cast<int64_t>(blob.size);
    const auto rewritten = built.rewritten.find(diff_id);
    if (rewritten != built.rewritten.end() && oci_types)
      layer.annotations[std::string(kRewritten)] = std::to_string(rewritten->second);
    manifest.layers.push_back(std::move(layer));
  }
  manifest.annotations =
      annotations_of(options_, Annotation::Type::kManifest, &built.platform);
  oci::Descriptor descriptor = add_text(manifest.serialize(), manifest.media_type);
  descriptor.annotations =
      annotations_of(options_, Annotation::Type::kManifestDescriptor, &built.platform);
  descriptor.platform = built.platform;
  return descriptor;
}

// oci::Manifest has no artifacts: written here, in the member order of ocispec.Manifest.
oci::Descriptor OciDocuments::add_attestations(const BuiltPlatform& built,
                                         const oci::Descriptor& image) {
  std::string layers;
  std::string diff_ids;
  const std::vector<StatementSubject> subjects =
      image_subjects(options_.names, built.platform, image.digest);
  for (const Attestation& attestation : built.attestations) {
    oci::Descriptor layer = add_text(in_toto_statement(attestation, subjects), kInToto);
    layer.annotations[std::string(kPredicateType)] = attestation.predicate_type;
    layers += (layers.empty() ? "" : ",") + descriptor_json(layer);
    diff_ids += (diff_ids.empty() ? "" : ",") + quoted(layer.digest);
  }
  std::string text = "{\"schemaVersion\":2,\"mediaType\":" + quoted(oci::kMediaTypeManifest);
  if (options_.oci_artifact) {
    std::string config = descriptor_json(add_text(std::string(kEmptyJson), kEmptyType));
    config.insert(config.size() - 1, ",\"data\":" + quoted(kEmptyBase64));
    oci::Descriptor subject;
    subject.media_type = image.media_type;
    subject.digest = image.digest;
    subject.size = image.size;
    text += ",\"artifactType\":" + quoted(kArtifactType) + ",\"config\":" + config +
            ",\"layers\":[" + layers + "],\"subject\":" + descriptor_json(subject) + "}";
  } else {
    const std::string config =
        "{\"architecture\":\"unknown\",\"os\":\"unknown\",\"config\":{},"
        "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[" + diff_ids + "]}}";
    text += ",\"config\":" + descriptor_json(add_text(config, oci::kMediaTypeConfig)) +
            ",\"layers\":[" + layers + "]}";
  }
  oci::Descriptor descriptor = add_text(std::move(text), oci::kMediaTypeManifest);
  descriptor.annotations["vnd.docker.reference.type"] = "attestation-manifest";
  descriptor.annotations["vnd.docker.reference.digest"] = image.digest;
  oci::Platform unknown;
  unknown.os = unknown.architecture = "unknown";
  descriptor.platform = unknown;
  return descriptor;
}

void OciDocuments::build() {
  const ExportOptions& options = options_;
  const std::vector<BuiltPlatform>& built = built_;
  const bool attested = std::any_of(built.begin(), built.end(),
                                    [](const auto& one) { return !one.attestations.empty(); });
  if (built.size() > 1 || options.multi_platform || attested) {
    oci::Index index;
    index.media_type = options.oci_media_types ? oci::kMediaTypeIndex : oci::kDockerIndex;
    std::vector<oci::Descriptor> attestations;
    for (const BuiltPlatform& one : built) {
      index.manifests.push_back(add_manifest(one));
      if (!one.attestations.empty())
        attestations.push_back(add_attestations(one, index.manifests.back()));
    }
    std::move(attestations.begin(), attestations.end(), std::back_inserter(index.manifests));
    children_ = index.manifests;
    index.annotations = annotations_of(options, Annotation::Type::kIndex, nullptr);
    top_ = add_text(index.serialize(), index.media_type);
    top_.annotations = annotations_of(options, Annotation::Type::kIndexDescriptor, nullptr);
  } else {
    top_ = add_manifest(built.front());
  }
  if (options.epoch)
    top_.annotations.try_emplace(std::string(kCreatedAnnotation),
                                 oci::format_time(*options.epoch * 1'000'000'000));
}

}  // namespace kasane::transfer
