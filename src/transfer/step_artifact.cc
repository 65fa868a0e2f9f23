#include "transfer/step_artifact.h"

#include <array>

#include "base/compress.h"
#include "oci/digest.h"
#include "oci/json.h"
#include "store/remote_layer.h"
#include "transfer/pull_layer.h"
#include "transfer/upload_sources.h"

namespace kasane::transfer {
namespace {

constexpr std::string_view kConfigType = "application/vnd.kasane.step.config.v1+json";
constexpr std::string_view kIndexType = "application/vnd.kasane.layer.index.v1+zstd";
constexpr size_t kMaxInline = 8u << 10;            // bytes that the manifest carries itself
constexpr int64_t kMaxIndexBlob = 64ll << 20;      // compressed
constexpr int64_t kFuture = 9'000'000'000'000'000'000;

Error foreign(std::string what) { return Error(ErrorKind::kCorrupt, std::move(what)); }

class BytesTarget final : public registry::BlobTarget {
 public:
  explicit BytesTarget(const oci::Descriptor& descriptor) : descriptor_(descriptor) {}
  uint64_t have() const override { return bytes.size(); }
  Result<void> append(std::span<const uint8_t> part) override {
    if (part.size() > static_cast<uint64_t>(descriptor_.size) - bytes.size())
      return foreign("more bytes came than were announced");
    bytes.append(reinterpret_cast<const char*>(part.data()), part.size());
    return {};
  }
  Result<void> restart() override {
    bytes.clear();
    return {};
  }
  Result<void> verify() override {
    if (sha256(bytes).str() == descriptor_.digest) return {};
    bytes.clear();
    return foreign("digest mismatch: the bytes that came are not those of " + descriptor_.digest);
  }
  std::string bytes;

 private:
  const oci::Descriptor& descriptor_;
};

// From the manifest when it carries them, else from the registry; checked either way.
Result<std::string> bytes_of(registry::Repository& repository, const oci::Descriptor& descriptor,
                             const std::stop_token& stop) {
  if (!descriptor.data.empty()) return descriptor.data;
  BytesTarget target(descriptor);
  TRY(repository.blob(descriptor, target, stop));
  return std::move(target.bytes);
}

Result<StepRecord> parse_config(const std::string& bytes) {
  constexpr std::string_view kWhat = "configuration of a cached step";
  const oci::Json json = TRY(oci::Json::parse(bytes, kWhat));
  if (!json.is_object()) return foreign(std::string(kWhat) + ": not a JSON object");
  oci::JsonReader in(json, kWhat);
  std::string key, diff_id;
  StepRecord out;
  TRY(in.get("key", key));
  TRY(in.get("diffID", diff_id));
  TRY(in.get("createdNs", out.created_ns));
  TRY(in.get("name", out.name));
  const std::optional<Sha256Digest> parsed = Sha256Digest::from_hex(key);
  if (!parsed) return in.error("key", "is missing or no key");
  out.key = *parsed;
  out.diff_id = TRY(oci::parse_sha256(diff_id));
  if (out.created_ns < 0 || out.created_ns > kFuture) return in.error("createdNs", "is no date");
  return out;
}

std::string config_json(const StepRecord& step) {
  std::string out = "{\"key\":";
  oci::write_json_string(out, step.key.hex());
  out += ",\"diffID\":";
  oci::write_json_string(out, step.diff_id.str());
  out += ",\"createdNs\":" + std::to_string(step.created_ns) + ",\"name\":";
  oci::write_json_string(out, step.name);
  return out + '}';
}

oci::Descriptor describe(std::string_view media_type, const std::string& bytes) {
  oci::Descriptor out;
  out.media_type = media_type;
  out.digest = sha256(bytes).str();
  out.size = static_cast<int64_t>(bytes.size());
  if (bytes.size() <= kMaxInline) out.data = bytes;
  return out;
}

Result<std::string> packed_index(const store::Layer& layer) {
  const std::string bytes = TRY(store::index_bytes(layer));
  StringSink packed;
  std::unique_ptr<CompressingSink> compressor = TRY(make_compressor(Compression::kZstd, packed));
  MemorySource source(bytes);
  TRY(copy_stream(source, *compressor));
  TRY(compressor->finish());
  return std::move(packed.text);
}

Result<void> send(registry::Pusher& pusher, const oci::Descriptor& descriptor, registry::UploadSource& source,
                  const std::stop_token& stop) {
  const Sha256Digest digest = TRY(oci::parse_sha256(descriptor.digest));
  if (TRY(pusher.has_blob(digest, stop))) return {};
  return pusher.upload(digest, static_cast<uint64_t>(descriptor.size), source, {}, stop);
}

}  // namespace

std::string step_tag(const Sha256Digest& key) { return "k1-" + key.hex(); }

Result<std::optional<StepArtifact>> find_step_artifact(registry::Repository& repository, const Sha256Digest& key,
                                                       const std::stop_token& stop) {
  Result<registry::Document> document = repository.document(step_tag(key), stop);
  if (!document && document.error().kind() == ErrorKind::kNotFound) return std::optional<StepArtifact>();
  if (!document) return std::move(document.error());
  if (document->is_index) return foreign("the tag of a cached step names an image index");
  oci::Manifest manifest = TRY(oci::Manifest::parse(document->bytes));
  if (manifest.config.media_type != kConfigType) return foreign("the tag of a cached step names another artifact");
  if (manifest.layers.empty()) return foreign("the artifact has no layer");
  if (manifest.config.size > (1 << 20)) return Error(ErrorKind::kLimit, "the artifact's configuration is too large");
  StepArtifact out;
  out.step = TRY(parse_config(TRY(bytes_of(repository, manifest.config, stop))));
  if (out.step.key != key) return foreign("the artifact is of another step");
  out.layer = std::move(manifest.layers.front());
  TRY(check_layer_type(out.layer));
  TRY(oci::parse_sha256(out.layer.digest));
  if (manifest.layers.size() > 1 && manifest.layers[1].media_type == kIndexType)
    out.index = std::move(manifest.layers[1]);
  return std::optional<StepArtifact>(std::move(out));
}

Result<std::shared_ptr<const store::LayerIndex>> step_layer_index(store::Store& store,
                                                                  registry::Repository& repository,
                                                                  const StepArtifact& artifact,
                                                                  const std::stop_token& stop) {
  using Index = std::shared_ptr<const store::LayerIndex>;
  if (!artifact.index) return Index();
  if (artifact.index->size > kMaxIndexBlob) return Error(ErrorKind::kLimit, "the index of a layer is too large");
  const std::string packed = TRY(bytes_of(repository, *artifact.index, stop));
  MemorySource source(packed);
  DecompressLimits limits;
  limits.max_output_bytes = store::kMaxClaimedIndexBytes;
  OpenedStream opened = TRY(open_decompressed(source, limits));
  StringSink bytes;
  TRY(copy_stream(*opened.source, bytes, store::kMaxClaimedIndexBytes));
  Result<Index> index = store::claimed_index(store, bytes.text, artifact.step.diff_id);
  if (!index && index.error().kind() == ErrorKind::kUnsupported) return Index();
  return index;
}

Result<bool> push_step_artifact(store::Store& store, registry::Pusher& pusher, const StepRecord& step,
                                const store::Layer& layer, const StepPushOptions& options,
                                const std::stop_token& stop) {
  const std::string tag = step_tag(step.key);
  if (!options.replace && TRY(pusher.has_tag(tag, stop))) return false;
  oci::Manifest manifest;
  manifest.media_type = oci::kMediaTypeManifest;
  manifest.layers.push_back(TRY(options.layer_blob(step.diff_id)));
  const oci::Descriptor& blob = manifest.layers.front();
  const Sha256Digest digest = TRY(oci::parse_sha256(blob.digest));
  TRY(send(pusher, blob, *file_upload(store.path("blobs/sha256/" + digest.hex())), stop));
  const std::string index = TRY(packed_index(layer));
  const std::string config = config_json(step);
  if (static_cast<int64_t>(index.size()) <= kMaxIndexBlob) {
    manifest.layers.push_back(describe(kIndexType, index));
    TRY(send(pusher, manifest.layers.back(), *text_upload(index), stop));
  }
  manifest.config = describe(kConfigType, config);
  TRY(send(pusher, manifest.config, *text_upload(config), stop));
  manifest.annotations["org.opencontainers.image.description"] = step.name;
  TRY(pusher.put_manifest(tag, manifest.media_type, manifest.serialize(), stop));
  return true;
}

}  // namespace kasane::transfer
