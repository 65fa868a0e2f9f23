// type=oci (reference O03, O06, O07, MP1, MP4, T02, T05, T10): BuildKit's documents
// (exporter/containerimage/writer.go), in a tar as containerd orders it, or merged into a
// layout directory as buildx does (client/ociindex).
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "oci/image_config.h"
#include "oci/reference.h"
#include "transfer/layer_export.h"
#include "transfer/layout_index.h"

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

// The blobs of one output by the hex of their digest, and the document at the top.
class Layout {
 public:
  Layout(const ExportJob& job, std::map<Sha256Digest, OutputBlob> layers)
      : job_(job), layers_(std::move(layers)) {}

  Result<void> build();
  const std::map<std::string, OutputBlob>& blobs() const { return blobs_; }
  const oci::Descriptor& top() const { return top_; }

 private:
  oci::Descriptor add_text(std::string text, std::string_view media_type);
  void add_blob(const OutputBlob& blob) { blobs_.emplace(blob.digest.hex(), blob); }
  oci::Descriptor add_manifest(const BuiltPlatform& built);
  oci::Descriptor add_attestations(const BuiltPlatform& built, const oci::Descriptor& image);

  const ExportJob& job_;
  std::map<Sha256Digest, OutputBlob> layers_;
  std::map<std::string, OutputBlob> blobs_;
  oci::Descriptor top_;
};

oci::Descriptor Layout::add_text(std::string text, std::string_view media_type) {
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

oci::Descriptor Layout::add_manifest(const BuiltPlatform& built) {
  const bool oci_types = job_.options.oci_media_types;
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
      annotations_of(job_.options, Annotation::Type::kManifest, &built.platform);
  oci::Descriptor descriptor = add_text(manifest.serialize(), manifest.media_type);
  descriptor.annotations =
      annotations_of(job_.options, Annotation::Type::kManifestDescriptor, &built.platform);
  descriptor.platform = built.platform;
  return descriptor;
}

// oci::Manifest has no artifacts: written here, in the member order of ocispec.Manifest.
oci::Descriptor Layout::add_attestations(const BuiltPlatform& built,
                                         const oci::Descriptor& image) {
  std::string layers;
  std::string diff_ids;
  const std::vector<StatementSubject> subjects =
      image_subjects(job_.options.names, built.platform, image.digest);
  for (const Attestation& attestation : built.attestations) {
    oci::Descriptor layer = add_text(in_toto_statement(attestation, subjects), kInToto);
    layer.annotations[std::string(kPredicateType)] = attestation.predicate_type;
    layers += (layers.empty() ? "" : ",") + descriptor_json(layer);
    diff_ids += (diff_ids.empty() ? "" : ",") + quoted(layer.digest);
  }
  std::string text = "{\"schemaVersion\":2,\"mediaType\":" + quoted(oci::kMediaTypeManifest);
  if (job_.options.oci_artifact) {
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

Result<void> Layout::build() {
  const ExportOptions& options = job_.options;
  const std::vector<BuiltPlatform>& built = job_.built;
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
    index.annotations = annotations_of(options, Annotation::Type::kIndex, nullptr);
    top_ = add_text(index.serialize(), index.media_type);
    top_.annotations = annotations_of(options, Annotation::Type::kIndexDescriptor, nullptr);
  } else {
    top_ = add_manifest(built.front());
  }
  if (options.epoch)
    top_.annotations.try_emplace(std::string(kCreatedAnnotation),
                                 oci::format_time(*options.epoch * 1'000'000'000));
  return {};
}

// ---- names

// One descriptor per name; `unnamed` is the tag when there are none.
std::vector<oci::Descriptor> named(const oci::Descriptor& top,
                                   const std::vector<std::string>& names,
                                   const std::string& unnamed) {
  std::vector<oci::Descriptor> out;
  for (const std::string& name : names) {
    oci::Descriptor descriptor = top;
    descriptor.annotations[std::string(kImageNameAnnotation)] = name;
    const Result<oci::Reference> reference = oci::Reference::parse(name);
    descriptor.annotations[std::string(kRefNameAnnotation)] = reference ? reference->tag : name;
    out.push_back(std::move(descriptor));
  }
  if (!out.empty()) return out;
  out.push_back(top);
  if (!unnamed.empty()) out.back().annotations[std::string(kRefNameAnnotation)] = unnamed;
  return out;
}

// ---- tar

Result<void> write_tar(const ExportJob& job, const Layout& layout, const OutputFile& file) {
  OutputSink sink(file.fd(), file.name(), job.stop);
  ArchiveWriter writer(sink, job.options.epoch.value_or(0));
  TRY(writer.directory("blobs"));
  TRY(writer.directory("blobs/sha256"));
  for (const auto& [hex, blob] : layout.blobs()) {
    std::unique_ptr<ByteSource> source = TRY(blob.open());
    TRY(writer.stream("blobs/sha256/" + hex, blob.size, blob.digest, *source));
  }
  oci::Index index;
  index.media_type = oci::kMediaTypeIndex;
  index.manifests = named(layout.top(), job.options.names, "");
  TRY(writer.text("index.json", index.serialize()));
  TRY(writer.text("oci-layout", kLayoutFile));
  TRY(writer.finish());
  return sink.flush();
}

Result<oci::Descriptor> export_tar(const ExportJob& job) {
  OutputFile file = TRY(OutputFile::open(job.options.dest));
  const store::Store::Ingest spool = TRY(job.store.new_ingest());
  Layout layout(job, TRY(make_layer_blobs(job, spool.path())));
  TRY(layout.build());
  Span span(job.events, "sending tarball", job.span);
  const Result<void> written = write_tar(job, layout, file);
  written ? span.done() : span.fail(written.error());
  TRY(Result<void>(written));
  TRY(file.commit());
  return layout.top();
}

// ---- directory

Result<void> place_blob(const ExportJob& job, const OutputBlob& blob, const std::string& spool,
                        const std::string& target) {
  struct stat st;
  if (::lstat(target.c_str(), &st) == 0 && S_ISREG(st.st_mode) &&
      static_cast<uint64_t>(st.st_size) == blob.size)
    return {};
  std::string from = blob.file;
  if (!blob.owned) {
    from = spool + "/blob";
    UniqueFd fd = TRY(open_file(from, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0644));
    OutputSink sink(fd.get(), from, job.stop);
    HashingSink checked(&sink);
    std::unique_ptr<ByteSource> source = TRY(blob.open());
    TRY(copy_stream(*source, checked));
    TRY(sink.flush());
    if (checked.finish() != blob.digest)
      return Error(ErrorKind::kCorrupt, blob.digest.str() + " is damaged in the store")
          .hint("`kasane store check` tells the extent; build or load the image again");
  }
  UniqueFd fd = TRY(open_file(from, O_RDONLY | O_NOFOLLOW));
  TRY(sync_fd(fd.get(), from));
  if (::rename(from.c_str(), target.c_str()) != 0)
    return Error::from_errno(errno, "rename to " + target);
  return {};
}

Result<oci::Descriptor> write_directory(const ExportJob& job, const std::string& spool) {
  const std::string& dest = job.options.dest;
  const std::string blobs = dest + "/blobs/sha256";
  Layout layout(job, TRY(make_layer_blobs(job, spool)));
  TRY(layout.build());
  TRY(make_directories(blobs));
  for (const auto& [hex, blob] : layout.blobs()) {
    if (job.stop.stop_requested()) return cancelled();
    TRY(place_blob(job, blob, spool, blobs + "/" + hex));
  }
  TRY(sync_directory(blobs));
  TRY(name_in_layout(dest, named(layout.top(), job.options.names, "latest")));
  return layout.top();
}

Result<oci::Descriptor> export_directory(const ExportJob& job) {
  const std::string& dest = job.options.dest;
  struct stat st;
  if (::stat(dest.c_str(), &st) == 0 && !S_ISDIR(st.st_mode))
    return Error(ErrorKind::kInvalid, "destination directory " + dest + " is a file")
        .hint("leave tar=false out to write the layout as a tar");
  TRY(make_directories(dest));
  std::string spool = dest + "/.kasane-XXXXXX";
  if (!::mkdtemp(spool.data())) return Error::from_errno(errno, "create a directory in " + dest);
  Result<oci::Descriptor> written = write_directory(job, spool);
  const Result<void> removed = remove_tree(spool);
  if (written && !removed) return removed.error();
  return written;
}

}  // namespace

Result<oci::Descriptor> export_oci(const ExportJob& job) {
  return job.options.tar ? export_tar(job) : export_directory(job);
}

}  // namespace kasane::transfer
