#include "build/step_cache.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <nlohmann/json.hpp>
#include <set>

#include "base/compress.h"
#include "base/csv.h"
#include "base/diagnostic.h"
#include "build/remote_steps.h"
#include "oci/manifest.h"
#include "transfer/transfer.h"

namespace kasane::build {
namespace {

using Json = nlohmann::json;

constexpr uint64_t kMaxIndexBytes = 64u << 20;
constexpr uint64_t kMaxManifestBytes = 4u << 20;
constexpr const char* kArtifactType = "application/vnd.kasane.step.v1+json";
constexpr const char* kConfigType = "application/vnd.kasane.step.config.v1+json";
constexpr const char* kLayerType = "application/vnd.oci.image.layer.v1.tar+zstd";
constexpr const char* kInlineMember = "kasane.cache.v1";
constexpr int kMaxRounds = 3;  // of builds that began again because a registry broke its word

std::string quote(std::string_view value) { return '"' + std::string(value) + '"'; }

std::string text(const Json& json, const char* name) {
  auto it = json.is_object() ? json.find(name) : json.end();
  return it != json.end() && it->is_string() ? it->get<std::string>() : std::string();
}

Result<Sha256Digest> digest_of(const std::string& written) {
  std::optional<Sha256Digest> digest = Sha256Digest::parse(written);
  if (!digest) return Error(ErrorKind::kCorrupt, "not a digest: " + quote(written));
  return *digest;
}

std::string blob_path(const std::string& directory, const Sha256Digest& digest) {
  return directory + "/blobs/sha256/" + digest.hex();
}

// A document of the layout, checked against its digest.
Result<Json> read_document(const std::string& directory, const std::string& digest) {
  Sha256Digest expected = TRY(digest_of(digest));
  std::string bytes = TRY(read_file(blob_path(directory, expected), kMaxManifestBytes));
  if (sha256(bytes) != expected) return Error(ErrorKind::kCorrupt, "blob " + digest + " has other bytes");
  Json json = Json::parse(bytes, nullptr, false);
  if (!json.is_object()) return Error(ErrorKind::kCorrupt, "blob " + digest + " is not an object");
  return json;
}

Json read_index(const std::string& directory) {
  Result<std::string> bytes = read_file(directory + "/index.json", kMaxIndexBytes);
  Json json = bytes ? Json::parse(*bytes, nullptr, false) : Json();
  if (!json.is_object() || !json.contains("manifests") || !json["manifests"].is_array())
    return {{"schemaVersion", 2}, {"mediaType", oci::kMediaTypeIndex}, {"manifests", Json::array()}};
  return json;
}

std::string key_of_descriptor(const Json& descriptor) {
  auto annotations = descriptor.is_object() ? descriptor.find("annotations") : descriptor.end();
  return annotations == descriptor.end() ? "" : text(*annotations, "org.opencontainers.image.ref.name");
}

// Writes below blobs/ by temporary file and rename.
class BlobWriter : public ByteSink {
 public:
  static Result<BlobWriter> open(const std::string& directory) {
    BlobWriter writer;
    writer.directory_ = directory;
    writer.path_ = directory + "/blobs/sha256/.tmp-" + std::to_string(::getpid());
    writer.fd_ = TRY(open_file(writer.path_, O_WRONLY | O_CREAT | O_TRUNC, 0644));
    return writer;
  }
  Result<void> write(std::span<const uint8_t> bytes) override {
    hash_.update(bytes);
    size_ += bytes.size();
    return write_all(fd_.get(), std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()), path_);
  }
  Result<Json> commit(const std::string& media_type) {
    Sha256Digest digest = hash_.finish();
    if (::fsync(fd_.get()) != 0 || ::rename(path_.c_str(), blob_path(directory_, digest).c_str()) != 0)
      return Error::from_errno(errno, "write " + path_);
    return Json{{"mediaType", media_type}, {"digest", digest.str()}, {"size", size_}};
  }

 private:
  std::string directory_, path_;
  UniqueFd fd_;
  Sha256 hash_;
  uint64_t size_ = 0;
};

Result<Json> write_text(const std::string& directory, const std::string& bytes, const std::string& media_type) {
  BlobWriter writer = TRY(BlobWriter::open(directory));
  TRY(writer.write(std::span(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size())));
  return writer.commit(media_type);
}

Result<Json> write_layer(const std::string& directory, const store::Layer& layer) {
  BlobWriter writer = TRY(BlobWriter::open(directory));
  std::unique_ptr<CompressingSink> compressor = TRY(make_compressor(Compression::kZstd, writer));
  std::unique_ptr<ByteSource> tar = TRY(layer.open_tar());
  TRY(copy_stream(*tar, *compressor));
  TRY(compressor->finish());
  return writer.commit(kLayerType);
}

// The descriptor of the step's artifact for index.json.
Result<Json> write_step(const std::string& directory, const Vertex& vertex, const VertexResult& result) {
  Json config = {{"key", result.key.hex()},
                 {"diffID", result.own->diff_id().str()},
                 {"createdNs", result.created_ns},
                 {"name", vertex.name},
                 {"explanation", result.key_json}};
  Json layer = TRY(write_layer(directory, *result.own));
  Json config_descriptor = TRY(write_text(
      directory, config.dump(-1, ' ', false, Json::error_handler_t::replace), kConfigType));
  Json manifest = {{"schemaVersion", 2},
                   {"mediaType", oci::kMediaTypeManifest},
                   {"artifactType", kArtifactType},
                   {"config", std::move(config_descriptor)},
                   {"layers", Json::array({std::move(layer)})}};
  Json descriptor = TRY(write_text(directory, manifest.dump(), std::string(oci::kMediaTypeManifest)));
  descriptor["artifactType"] = kArtifactType;
  descriptor["annotations"] = {{"org.opencontainers.image.ref.name", result.key.hex()}};
  return descriptor;
}

// With `all`, every step.
std::set<VertexId> steps_to_export(const Graph& graph, const std::map<VertexId, VertexResult>& results,
                                   bool all) {
  std::set<VertexId> ids = steps_of_targets(graph);
  if (all)
    for (const auto& [id, result] : results) ids.insert(id);
  return ids;
}

// What an export that died left. REQUIRES: the lock of the directory.
void remove_unfinished(const std::string& directory) {
  const std::string folder = directory + "/blobs/sha256";
  Result<std::vector<std::string>> names = list_directory(folder);
  if (!names) return;
  for (const std::string& name : *names)
    if (name.starts_with(".tmp-")) ::unlink((folder + "/" + name).c_str());
}

Result<void> write_steps(const CacheExport& target, const Graph& graph,
                         const std::map<VertexId, VertexResult>& results) {
  const std::string& directory = target.directory;
  TRY(make_directories(directory + "/blobs/sha256", 0755));
  UniqueFd lock = TRY(open_file(directory + "/.lock", O_RDWR | O_CREAT, 0644));
  if (::flock(lock.get(), LOCK_EX) != 0) return Error::from_errno(errno, "lock " + directory);
  remove_unfinished(directory);
  Json index = read_index(directory);
  std::map<std::string, Json> known;
  for (const Json& descriptor : index["manifests"]) known[key_of_descriptor(descriptor)] = descriptor;
  std::map<std::string, Json> kept;
  if (!target.reset) kept = known;
  for (VertexId id : steps_to_export(graph, results, target.all_steps)) {
    const VertexResult& result = results.at(id);
    if (!result.own) continue;
    std::string key = result.key.hex();
    auto it = known.find(key);
    kept[key] = it != known.end() ? it->second
                                  : TRY(write_step(directory, graph.vertices[static_cast<size_t>(id)], result));
  }
  Json manifests = Json::array();
  for (auto& [key, descriptor] : kept) manifests.push_back(std::move(descriptor));
  index["manifests"] = std::move(manifests);
  TRY(sync_directory(directory + "/blobs/sha256"));  // before the index names them
  TRY(replace_file(directory + "/oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}"));
  return replace_file(directory + "/index.json", index.dump());
}

// What reset left without a reference.
void remove_unreferenced(const std::string& directory) {
  std::set<std::string> used;
  Json index = read_index(directory);
  for (const Json& descriptor : index["manifests"]) {
    used.insert(text(descriptor, "digest"));
    Result<Json> manifest = read_document(directory, text(descriptor, "digest"));
    if (!manifest) return;  // better too much than too little
    used.insert(text((*manifest)["config"], "digest"));
    for (const Json& layer : (*manifest)["layers"]) used.insert(text(layer, "digest"));
  }
  const std::string folder = directory + "/blobs/sha256";
  std::unique_ptr<DIR, int (*)(DIR*)> blobs(::opendir(folder.c_str()), &::closedir);
  while (dirent* item = blobs ? ::readdir(blobs.get()) : nullptr) {
    std::string name = item->d_name;
    if (name.size() == 64 && !used.contains("sha256:" + name)) ::unlink((folder + "/" + name).c_str());
  }
}

}  // namespace

Result<void> CacheImports::add_directory(const std::string& directory) {
  if (::access((directory + "/index.json").c_str(), F_OK) != 0) {
    events_.warn("cache source " + directory + " is not there (yet)");
    return {};
  }
  Json index = read_index(directory);
  for (const Json& descriptor : index["manifests"]) {
    std::optional<Sha256Digest> key = Sha256Digest::from_hex(key_of_descriptor(descriptor));
    if (key) steps_.emplace(*key, Step{directory, text(descriptor, "digest")});
  }
  return {};
}

// The keys that an inline export left in the configuration name layers that the image brought.
// True when there are some.
Result<bool> CacheImports::add_image(const std::string& name) {
  Result<Sha256Digest> image = transfer::find_image(store_, name);
  if (!image) return false;
  const std::vector<std::pair<size_t, Sha256Digest>> keys = inline_keys(TRY(store_.image_config(*image)));
  std::vector<Sha256Digest> layers = TRY(store_.image_layers(*image));
  for (const auto& [number, key] : keys) {
    if (number >= layers.size() || TRY(store_.find_step(key))) continue;
    store::StepRow row;
    row.key = key;
    row.diff_id = layers[number];
    row.explanation = "[]";
    TRY(store_.put_step(row));
  }
  return !keys.empty();
}

// An image of the store that has an inline cache is that cache; else the name is a repository's.
Result<void> CacheImports::add_registry(const std::string& name) {
  if (TRY(add_image(name))) return {};
  if (!registries_) {
    events_.warn("cache source " + name + " is not in the store");
    return {};
  }
  oci::Reference reference = TRY_CONTEXT(oci::Reference::parse(name), "--cache-from");
  remotes_.push_back(std::make_unique<RemoteSteps>(store_, *registries_, reference.with_default_tag(), events_, stop_));
  return {};
}

Result<void> CacheImports::add(const std::string& argument) {
  if (argument.find('=') == std::string::npos) return add_registry(argument);
  auto pairs = TRY_CONTEXT(split_csv_pairs(argument), "--cache-from");
  std::string type, source;
  for (const auto& [key, value] : pairs) {
    if (key == "type") type = value;
    if (key == "src" || key == "ref") source = value;
  }
  if (source.empty())
    return Error(ErrorKind::kInvalid, "invalid --cache-from " + quote(argument) + ": no src or ref");
  if (type == "local") return add_directory(source);
  if (type == "registry") return add_registry(source);
  return Error(ErrorKind::kUnsupported, "cache source of type " + quote(type) + " is not supported")
      .hint("use type=registry,ref=REPOSITORY, type=local,src=DIR, or the name of an image with an inline cache");
}

Result<void> CacheImports::import(const Sha256Digest& key, const Step& step) {
  Json manifest = TRY(read_document(step.directory, step.manifest));
  Json config = TRY(read_document(step.directory, text(manifest["config"], "digest")));
  if (text(config, "key") != key.hex()) return Error(ErrorKind::kCorrupt, "the artifact is of another step");
  if (!manifest["layers"].is_array() || manifest["layers"].size() != 1)
    return Error(ErrorKind::kCorrupt, "the artifact has no layer");
  Sha256Digest blob = TRY(digest_of(text(manifest["layers"][0], "digest")));
  UniqueFd fd = TRY(open_file(blob_path(step.directory, blob), O_RDONLY));
  FdSource file(fd.get(), "cached layer");
  OpenedStream opened = TRY(open_decompressed(file));
  store::ImportOptions options;
  options.expected_diff_id = TRY(digest_of(text(config, "diffID")));
  store::LayerPtr layer = TRY(store::import_layer(store_, *opened.source, options));
  store::StepRow row;
  row.key = key;
  row.diff_id = layer->diff_id();
  if (auto it = config.find("createdNs"); it != config.end() && it->is_number_integer())
    row.created_ns = it->get<int64_t>();
  row.explanation = text(config, "explanation");
  return store_.put_step(row);
}

bool CacheImports::fetch(const Sha256Digest& key) {
  auto it = steps_.find(key);
  if (it == steps_.end()) return false;
  std::lock_guard lock(mutex_);
  Result<void> imported = import(key, it->second);
  if (!imported)
    events_.warn("cached step of " + it->second.directory + " cannot be used: " + imported.error().full_message());
  return imported.has_value();
}

CacheImports::CacheImports(store::Store& store, const std::optional<registry::Surroundings>& registries,
                           EventBus& events, std::stop_token stop)
    : store_(store), events_(events), registries_(registries), stop_(std::move(stop)) {}

CacheImports::~CacheImports() = default;

std::optional<RemoteHit> CacheImports::find_remote(const store::StepRow& row) {
  for (const std::unique_ptr<RemoteSteps>& remote : remotes_)
    if (std::optional<RemoteHit> hit = remote->find(row)) return hit;
  return std::nullopt;
}

void CacheImports::reject(const Sha256Digest& key, const Error& why) {
  for (const std::unique_ptr<RemoteSteps>& remote : remotes_)
    if (remote->gave(key)) remote->reject(key, why);
}

bool CacheImports::take_broken() {
  bool broken = false;
  for (const std::unique_ptr<RemoteSteps>& remote : remotes_) broken |= remote->take_broken();
  if (broken && ++rounds_ >= kMaxRounds)
    for (const std::unique_ptr<RemoteSteps>& remote : remotes_) remote->give_up();
  return broken;
}

bool CacheImports::is_at(const oci::Reference& repository, const Sha256Digest& key) {
  for (const std::unique_ptr<RemoteSteps>& remote : remotes_)
    if (remote->is_at(repository) && remote->gave(key)) return true;
  return false;
}

bool CacheImports::rejected_at(const oci::Reference& repository, const Sha256Digest& key) {
  for (const std::unique_ptr<RemoteSteps>& remote : remotes_)
    if (remote->is_at(repository) && remote->rejected(key)) return true;
  return false;
}

Result<void> export_steps(store::Store&, const CacheExport& target, const Graph& graph,
                          const std::map<VertexId, VertexResult>& results, EventBus& events) {
  Span span(events, "exporting cache to " + target.directory);
  Result<void> written = write_steps(target, graph, results);
  if (written && target.reset) remove_unreferenced(target.directory);
  written ? span.done() : span.fail(written.error());
  if (!written && target.ignore_error) {
    events.warn("the cache was not exported: " + written.error().full_message());
    return {};
  }
  return written;
}

std::set<VertexId> steps_of_targets(const Graph& graph) {
  std::set<VertexId> ids;
  for (const Target& target : graph.targets)
    for (VertexId id = target.result; id != kNoVertex; id = graph.vertices[static_cast<size_t>(id)].parent)
      ids.insert(id);
  return ids;
}

std::vector<std::pair<size_t, Sha256Digest>> inline_keys(const std::string& config_json) {
  std::vector<std::pair<size_t, Sha256Digest>> keys;
  const Json config = Json::parse(config_json, nullptr, false);
  auto found = config.is_object() ? config.find(kInlineMember) : config.end();
  if (found == config.end() || !found->is_array()) return keys;
  for (const Json& item : *found) {
    const std::optional<Sha256Digest> key = Sha256Digest::from_hex(text(item, "key"));
    auto layer = item.is_object() ? item.find("layer") : item.end();
    if (key && layer != item.end() && layer->is_number_unsigned()) keys.emplace_back(layer->get<size_t>(), *key);
  }
  return keys;
}

std::string with_inline_keys(const std::string& members,
                             const std::vector<std::pair<size_t, Sha256Digest>>& keys) {
  Json list = Json::array();
  for (const auto& [layer, key] : keys) list.push_back({{"layer", layer}, {"key", key.hex()}});
  Json json = Json::parse(members, nullptr, false);
  if (!json.is_object()) json = Json::object();
  json[kInlineMember] = std::move(list);
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace kasane::build
