#include "build/provenance.h"

#include <nlohmann/json.hpp>

#include "oci/reference.h"

namespace kasane::build {
namespace {

using Json = nlohmann::json;

constexpr const char* kPredicateType = "https://slsa.dev/provenance/v1";
constexpr const char* kBuildType = "https://mobyproject.org/buildkit@v1";

// A package URL of an image: "pkg:docker/alpine@3?platform=linux%2Famd64".
std::string image_purl(const std::string& name, const oci::Platform& platform) {
  std::string text = "pkg:docker/";
  Result<oci::Reference> reference = oci::Reference::parse(name);
  text += reference ? reference->familiar_name() : name;
  if (reference && !reference->tag.empty()) text += "@" + reference->tag;
  std::string escaped;
  for (char c : platform.str()) c == '/' ? escaped += "%2F" : escaped += c;
  return text + "?platform=" + escaped;
}

// What the target was made from: images, downloads, repositories.
Json dependencies_of(const Delivery& d, const oci::Platform& platform) {
  Json list = Json::array();
  auto add = [&](std::string uri, Json digest) {
    Json entry = {{"uri", std::move(uri)}};
    if (!digest.empty()) entry["digest"] = std::move(digest);
    if (std::find(list.begin(), list.end(), entry) == list.end()) list.push_back(std::move(entry));
  };
  for (const auto& [id, result] : d.results) {
    const Vertex& vertex = d.graph.vertices[static_cast<size_t>(id)];
    if (const auto* base = std::get_if<BaseOp>(&vertex.op))
      add(image_purl(base->name, platform),
          base->diff_ids.empty() ? Json() : Json{{"sha256", base->diff_ids.back().hex()}});
    if (const auto* http = std::get_if<HttpOp>(&vertex.op))
      add(http->url, http->checksum.empty() ? Json() : Json{{"sha256", http->checksum.substr(7)}});
    if (const auto* git = std::get_if<GitOp>(&vertex.op))
      add(git->ref.remote + (git->ref.ref.empty() ? "" : "#" + git->ref.ref), Json());
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

Json steps_of(const Delivery& d) {
  Json steps = Json::array();
  for (const auto& [id, result] : d.results) {
    Json step = {{"name", d.graph.vertices[static_cast<size_t>(id)].name}};
    if (result.own) step["layer"] = result.own->diff_id().str();
    steps.push_back(std::move(step));
  }
  return steps;
}

Json predicate_of(const Delivery& d, const oci::Platform& platform) {
  const BuildOptions& options = d.options;
  Json internal = {{"builderPlatform", oci::Platform::host().str()}};
  if (options.provenance == ProvenanceMode::kMax) internal["steps"] = steps_of(d);
  Json definition = {
      {"buildType", kBuildType},
      {"externalParameters",
       {{"configSource", {{"path", options.dockerfile.value_or("Dockerfile")}}}, {"request", request_of(d)}}},
      {"internalParameters", std::move(internal)},
      {"resolvedDependencies", dependencies_of(d, platform)}};
  int64_t started = d.epoch ? *d.epoch * 1'000'000'000 : d.started_ns;
  Json metadata = {{"startedOn", oci::format_time(started)},
                   {"buildkit_completeness", {{"request", options.provenance == ProvenanceMode::kMax},
                                              {"resolvedDependencies", false}}}};
  Json details = {{"builder", {{"id", options.provenance_builder_id}}}, {"metadata", std::move(metadata)}};
  return {{"buildDefinition", std::move(definition)}, {"runDetails", std::move(details)}};
}

}  // namespace

void add_provenance(const Delivery& d, std::vector<transfer::BuiltPlatform>& images) {
  if (d.options.provenance == ProvenanceMode::kNone) return;
  for (transfer::BuiltPlatform& image : images) {
    transfer::Attestation attestation;
    attestation.predicate_type = kPredicateType;
    attestation.statement_json =
        predicate_of(d, image.platform).dump(-1, ' ', false, Json::error_handler_t::replace);
    image.attestations.push_back(std::move(attestation));
  }
}

}  // namespace kasane::build
