// export_build(): checks, then the form that is asked for; and what is told about it.
#include <algorithm>
#include <climits>

#include "oci/json_build.h"
#include "transfer/export_internal.h"

namespace kasane::transfer {
namespace {

using Kind = ExportOptions::Kind;
using Type = Annotation::Type;

Error invalid(std::string message) { return Error(ErrorKind::kInvalid, std::move(message)); }

bool wants_index(const std::vector<BuiltPlatform>& built, const ExportOptions& options) {
  return built.size() > 1 || options.multi_platform ||
         std::any_of(built.begin(), built.end(),
                     [](const auto& one) { return !one.attestations.empty(); });
}

bool about_index(const Annotation& annotation) {
  return annotation.type == Type::kIndex || annotation.type == Type::kIndexDescriptor;
}

Result<void> check_annotations(const std::vector<BuiltPlatform>& built,
                               const ExportOptions& options) {
  const bool index = options.kind == Kind::kOci && wants_index(built, options);
  for (const Annotation& annotation : options.annotations) {
    if (about_index(annotation) && !index)
      return invalid("index annotations are not supported for a single platform export: no "
                     "index is made, so \"" + annotation.key + "\" has no place")
          .hint("use a manifest annotation, or build several platforms with type=oci");
    if (!options.oci_media_types && annotation.type != Type::kManifest)
      return invalid("cannot export annotations with \"oci-mediatypes=false\"");
    if (!annotation.platform || about_index(annotation)) continue;
    if (std::none_of(built.begin(), built.end(), [&](const BuiltPlatform& one) {
          return one.platform.normalized() == annotation.platform->normalized();
        }))
      return invalid("invalid annotation: no platform " + annotation.platform->str() +
                     " found in the result");
  }
  return {};
}

Result<void> check_platforms(const std::vector<BuiltPlatform>& built) {
  if (built.empty()) return Error(ErrorKind::kInternal, "export of no platform");
  for (size_t i = 0; i < built.size(); ++i) {
    if (sha256(built[i].config_json) != built[i].config_digest)
      return Error(ErrorKind::kInternal, "the config of platform " + built[i].platform.str() +
                                             " is not what its digest names");
    for (size_t j = 0; j < i; ++j)
      if (built[j].platform == built[i].platform)
        return invalid("platform " + built[i].platform.str() + " is there twice");
  }
  return {};
}

Result<void> check(const std::vector<BuiltPlatform>& built, const ExportOptions& options) {
  TRY(check_platforms(built));
  if (options.epoch && (*options.epoch < 0 || *options.epoch > INT64_MAX / 1'000'000'000))
    return invalid("SOURCE_DATE_EPOCH " + std::to_string(*options.epoch) + " is out of range");
  if (options.kind != Kind::kOci && options.kind != Kind::kDocker) return {};
  TRY(check_annotations(built, options));
  if (options.kind == Kind::kDocker && (built.size() > 1 || options.multi_platform))
    return Error(ErrorKind::kUnsupported,
                 "docker exporter does not support exporting manifest lists, use the oci exporter "
                 "instead")
        .hint("type=oci,dest=FILE holds several platforms; `docker load` reads it where docker "
              "uses the containerd image store");
  const bool attested = std::any_of(built.begin(), built.end(),
                                    [](const auto& one) { return !one.attestations.empty(); });
  if (!options.oci_media_types && attested)
    return invalid("cannot export attestations with \"oci-mediatypes=false\"");
  if (!options.oci_media_types && options.compression == Compression::kZstd)
    return invalid("compression=zstd conflicts with oci-mediatypes=false");
  return {};
}

std::string_view span_name(Kind kind) {
  switch (kind) {
    case Kind::kLocal: return "exporting to client directory";
    case Kind::kTar: return "exporting to client tarball";
    case Kind::kOci: return "exporting to oci image format";
    case Kind::kDocker: return "exporting to docker image format";
    default: return "exporting to image";
  }
}

oci::Json json_string(std::string text) {
  oci::Json json;
  json.type = oci::Json::Type::kString;
  json.text = std::move(text);
  return json;
}

Result<std::optional<oci::Descriptor>> run(const ExportJob& job) {
  using Written = std::optional<oci::Descriptor>;
  switch (job.options.kind) {
    case Kind::kLocal:
      TRY(export_rootfs_directory(job));
      return Written();
    case Kind::kTar:
      TRY(export_rootfs_tar(job));
      return Written();
    case Kind::kOci:
      return Written(TRY(export_oci(job)));
    case Kind::kDocker:
      return Written(TRY(export_docker(job)));
    case Kind::kCacheOnly:
      return Written();
    case Kind::kImage:
      break;
  }
  return Error(ErrorKind::kUnsupported, "type=image is not an export to a file");
}

}  // namespace

std::map<std::string, std::string> annotations_of(const ExportOptions& options, Type type,
                                                  const oci::Platform* platform) {
  std::map<std::string, std::string> out;
  // Those of one platform win over those of all.
  for (const bool specific : {false, true})
    for (const Annotation& annotation : options.annotations) {
      if (annotation.type != type) continue;
      const bool bound = annotation.platform && platform;
      if (bound != specific) continue;
      if (bound && annotation.platform->normalized() != platform->normalized()) continue;
      out[annotation.key] = annotation.value;
    }
  return out;
}

std::string pretty_json(const oci::Json& json) { return oci::indented(json, "  "); }

std::string descriptor_json(const oci::Descriptor& descriptor) {
  oci::Index index;
  index.manifests.push_back(descriptor);
  const std::string text = index.serialize();
  const size_t begin = text.find('[') + 1;  // only schemaVersion comes before it
  return text.substr(begin, text.rfind(']') - begin);
}

Result<oci::Descriptor> export_docker(const ExportJob& job) {
  const BuiltPlatform& built = job.built.front();
  if (job.options.dest.empty())
    return Error(ErrorKind::kUnsupported, "type=docker without dest is not an export to a file");
  if (!built.attestations.empty())
    job.events.warn("type=docker has no place for attestations: they are left out");
  ArchiveImage image;
  image.config_json = built.config_json;
  image.references = job.options.names;
  image.annotations = annotations_of(job.options, Type::kManifest, &built.platform);
  image.descriptor_annotations =
      annotations_of(job.options, Type::kManifestDescriptor, &built.platform);
  OutputFile file = TRY(OutputFile::open(job.options.dest));
  OutputSink sink(file.fd(), file.name(), job.stop);
  WrittenArchive written = TRY(
      write_docker_archive(job.store, {std::move(image)}, sink, job.options.epoch.value_or(0)));
  TRY(sink.flush());
  TRY(file.commit());
  return std::move(written.manifests.front());
}

Result<ExportResult> export_build(store::Store& store, const std::vector<BuiltPlatform>& built,
                                  const ExportOptions& options, EventBus& events,
                                  std::stop_token stop) {
  TRY_CONTEXT(check(built, options), "output type=" + std::string(kind_name(options.kind)));
  TRY(store.hold());
  Span span(events, span_name(options.kind));
  Result<std::optional<oci::Descriptor>> written =
      run(ExportJob{store, built, options, events, stop, span.id()});
  if (!written) {
    if (written.error().kind() != ErrorKind::kCancelled) span.fail(written.error());
    return std::move(written.error());
  }
  span.done();
  ExportResult result;
  for (const BuiltPlatform& one : built)
    for (const Attestation& attestation : one.attestations)
      if (attestation.predicate_type.starts_with("https://slsa.dev/provenance/"))
        result.provenance.emplace_back(one.platform.str(), attestation.predicate_json);
  if (!*written) return result;
  result.digest = (*written)->digest;
  result.descriptor_json = descriptor_json(**written);
  result.names = options.names;
  const bool index = options.kind == Kind::kOci && wants_index(built, options);
  if (!index) result.config_digest = built.front().config_digest.str();
  return result;
}

std::string metadata_json(const ExportResult& result) {
  std::map<std::string, oci::Json> members;  // sorted, as Go writes a map
  for (const auto& [platform, text] : result.provenance) {
    Result<oci::Json> predicate = oci::Json::parse(text, "provenance");
    if (!predicate || !predicate->is_object()) continue;
    std::string key = "buildx.build.provenance";
    if (result.provenance.size() > 1) key += "/" + platform;
    members[key] = std::move(*predicate);
  }
  if (!result.config_digest.empty())
    members["containerimage.config.digest"] = json_string(result.config_digest);
  if (!result.digest.empty()) members["containerimage.digest"] = json_string(result.digest);
  if (Result<oci::Json> descriptor = oci::Json::parse(result.descriptor_json, "descriptor");
      !result.descriptor_json.empty() && descriptor)
    members["containerimage.descriptor"] = std::move(*descriptor);
  if (!result.names.empty()) {
    std::string names;
    for (const std::string& name : result.names) names += (names.empty() ? "" : ",") + name;
    members["image.name"] = json_string(std::move(names));
  }
  oci::Json out;
  out.type = oci::Json::Type::kObject;
  for (auto& [name, value] : members) out.members.push_back({name, std::move(value)});
  return pretty_json(out);
}

}  // namespace kasane::transfer
