#include "build/provenance.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "build/named_context.h"

namespace kasane::build {
namespace {

using Json = nlohmann::json;

constexpr const char* kPredicateType = "https://slsa.dev/provenance/v1";
constexpr const char* kBuildType = "https://mobyproject.org/buildkit@v1";

// The steps that a target is made from.
std::set<VertexId> steps_below(const Graph& graph, VertexId result) {
  std::set<VertexId> seen;
  std::vector<VertexId> open{result};
  while (!open.empty()) {
    const VertexId id = open.back();
    open.pop_back();
    if (id == kNoVertex || !seen.insert(id).second) continue;
    for (VertexId below : graph.vertices[static_cast<size_t>(id)].dependencies()) open.push_back(below);
  }
  return seen;
}

// Names of users and passwords are nobody's business.
std::string without_credentials(const std::string& url) {
  const size_t host = url.find("://");
  if (host == std::string::npos) return url;
  const size_t end = std::min(url.find('/', host + 3), url.size());
  const size_t at = url.rfind('@', end);
  return at == std::string::npos || at < host ? url : url.substr(0, host + 3) + url.substr(at + 1);
}

// The base's platform is the target's or this machine's (FROM --platform=$BUILDPLATFORM). Its
// digest is that of its configuration: the store has no manifest of it.
Json base_dependency(const Delivery& d, const BaseOp& base, const oci::Platform& target) {
  for (const oci::Platform& platform : {target, oci::Platform::host()}) {
    Result<Sha256Digest> image = find_base_image(d.store, base.name, platform);
    if (!image) continue;
    Result<std::vector<Sha256Digest>> layers = d.store.image_layers(*image);
    if (layers && *layers == base.diff_ids)
      return {{"uri", transfer::image_purl(base.name, platform)}, {"digest", {{"sha256", image->hex()}}}};
  }
  return {{"uri", transfer::image_purl(base.name, target)}};
}

// What the target was made from: images, downloads, repositories.
Json dependencies_of(const Delivery& d, const oci::Platform& platform, VertexId result) {
  Json list = Json::array();
  auto add = [&](Json entry) {
    if (std::find(list.begin(), list.end(), entry) == list.end()) list.push_back(std::move(entry));
  };
  for (VertexId id : steps_below(d.graph, result)) {
    const Vertex& vertex = d.graph.vertices[static_cast<size_t>(id)];
    if (const auto* base = std::get_if<BaseOp>(&vertex.op)) add(base_dependency(d, *base, platform));
    if (const auto* http = std::get_if<HttpOp>(&vertex.op)) {
      Json entry = {{"uri", without_credentials(http->url)}};
      if (!http->checksum.empty()) entry["digest"] = {{"sha256", http->checksum.substr(7)}};
      add(std::move(entry));
    }
    if (const auto* git = std::get_if<GitOp>(&vertex.op))
      add({{"uri", without_credentials(git->ref.remote) + (git->ref.ref.empty() ? "" : "#" + git->ref.ref)}});
  }
  return list;
}

Json request_of(const Delivery& d) {
  const BuildOptions& options = d.options;
  Json args = Json::object();
  if (!options.target.empty()) args["target"] = options.target;
  if (options.no_cache) args["no-cache"] = "";
  if (options.provenance == ProvenanceMode::kMax) {
    for (const auto& [name, value] : options.build_args) args["build-arg:" + name] = value;
    for (const auto& [name, value] : options.labels) args["label:" + name] = value;
  }
  Json request = {{"frontend", "dockerfile.v0"}, {"args", std::move(args)}};
  Json secrets = Json::array();
  for (const auto& [id, value] : options.secrets.all()) secrets.push_back({{"id", id}, {"optional", true}});
  if (!secrets.empty()) request["secrets"] = std::move(secrets);
  return request;
}

Json steps_of(const Delivery& d, VertexId target) {
  Json steps = Json::array();
  for (VertexId id : steps_below(d.graph, target)) {
    const VertexResult& result = d.results.at(id);
    Json step = {{"name", d.graph.vertices[static_cast<size_t>(id)].name}};
    if (result.own) step["layer"] = result.own->diff_id().str();
    steps.push_back(std::move(step));
  }
  return steps;
}

Json predicate_of(const Delivery& d, const Target& target) {
  const BuildOptions& options = d.options;
  Json internal = {{"builderPlatform", oci::Platform::host().str()}};
  if (options.provenance == ProvenanceMode::kMax) internal["steps"] = steps_of(d, target.result);
  Json definition = {
      {"buildType", kBuildType},
      {"externalParameters",
       {{"configSource", {{"path", options.dockerfile.value_or("Dockerfile")}}}, {"request", request_of(d)}}},
      {"internalParameters", std::move(internal)},
      {"resolvedDependencies", dependencies_of(d, target.platform, target.result)}};
  int64_t started = d.epoch ? *d.epoch * 1'000'000'000 : d.started_ns;
  Json metadata = {{"startedOn", oci::format_time(started)},
                   {"buildkit_completeness", {{"request", options.provenance == ProvenanceMode::kMax},
                                              {"resolvedDependencies", false}}}};
  Json details = {{"builder", {{"id", options.provenance_builder_id}}}, {"metadata", std::move(metadata)}};
  return {{"buildDefinition", std::move(definition)}, {"runDetails", std::move(details)}};
}

}  // namespace

Result<void> add_provenance(const Delivery& d, std::vector<transfer::BuiltPlatform>& images) {
  if (d.options.provenance == ProvenanceMode::kNone) return {};
  for (size_t i = 0; i < images.size(); ++i) {
    transfer::Attestation attestation;
    attestation.predicate_type = kPredicateType;
    attestation.predicate_json =
        predicate_of(d, d.graph.targets.at(i)).dump(-1, ' ', false, Json::error_handler_t::replace);
    TRY(refuse_leaks(d.options.secrets, attestation.predicate_json, "the provenance"));
    images[i].attestations.push_back(std::move(attestation));
  }
  return {};
}

}  // namespace kasane::build
