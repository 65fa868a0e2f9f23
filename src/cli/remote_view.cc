#include "cli/remote_view.h"

#include <algorithm>
#include <cstdlib>

#include "oci/json_build.h"
#include "oci/platform_match.h"

namespace kasane::cli {
namespace {

using tmpl::Value;

constexpr tmpl::GoType kStruct{"imagetools.object", tmpl::Kind::kStruct};
constexpr tmpl::GoType kObjects{"[]imagetools.object", tmpl::Kind::kList, &kStruct};
constexpr tmpl::GoType kByPlatform{"map[string]imagetools.object", tmpl::Kind::kMap, &kStruct};

// Names whose Go form is not the JSON name with a capital.
constexpr std::pair<std::string_view, std::string_view> kGoNames[] = {
    {"os", "OS"},           {"os.version", "OSVersion"}, {"os.features", "OSFeatures"}, {"urls", "URLs"},
    {"rootfs", "RootFS"},   {"diff_ids", "DiffIDs"},     {"created_by", "CreatedBy"},   {"empty_layer", "EmptyLayer"}};
constexpr std::string_view kMaps[] = {"annotations", "Labels", "ExposedPorts", "Volumes"};

std::string go_name(const std::string& json) {
  for (const auto& [from, to] : kGoNames)
    if (json == from) return std::string(to);
  std::string out = json;
  if (!out.empty() && out[0] >= 'a' && out[0] <= 'z') out[0] = static_cast<char>(out[0] - 'a' + 'A');
  return out;
}

Value number(const oci::Json& json) {
  char* end = nullptr;
  const long long whole = std::strtoll(json.text.c_str(), &end, 10);
  return *end == '\0' ? Value::integer(whole, tmpl::types::kInt64) : Value::real(std::strtod(json.text.c_str(), nullptr));
}

struct Part {
  oci::Descriptor entry;
  std::string platform;
  std::vector<oci::Descriptor> attestations;
};

std::vector<Part> parts_of(const oci::Index& index) {
  std::vector<Part> out;
  for (const oci::Descriptor& entry : index.manifests)
    if (!oci::is_attestation(entry) && oci::is_manifest_type(entry.media_type))
      out.push_back({entry, entry.platform ? entry.platform->str() : "unknown/unknown", {}});
  for (const oci::Descriptor& entry : index.manifests) {
    const auto about = entry.annotations.find("vnd.docker.reference.digest");
    for (Part& part : out)
      if (about != entry.annotations.end() && part.entry.digest == about->second) part.attestations.push_back(entry);
  }
  return out;
}

}  // namespace

Value RemoteView::untyped_json(const oci::Json& json) {
  switch (json.type) {
    case oci::Json::Type::kNull: return Value::nil();
    case oci::Json::Type::kBool: return Value::boolean(json.boolean).box();
    case oci::Json::Type::kNumber: return number(json).box();
    case oci::Json::Type::kString: return Value::string(json.text).box();
    case oci::Json::Type::kArray: {
      tmpl::List items;
      for (const oci::Json& item : json.items) items.push_back(untyped_json(item));
      return Value::list(std::move(items), tmpl::types::kAnyList).box();
    }
    case oci::Json::Type::kObject: break;
  }
  tmpl::Map map;
  for (const oci::Json::Member& member : json.members) map.emplace(member.name, untyped_json(member.value));
  return Value::map(std::move(map), tmpl::types::kAnyMap).box();
}

Value RemoteView::typed(const oci::Json& json, std::string_view member) {
  if (json.is_object() && std::find(std::begin(kMaps), std::end(kMaps), member) == std::end(kMaps)) {
    tmpl::Struct fields;
    for (const oci::Json::Member& one : json.members)
      fields.push_back({keep(go_name(one.name)), keep(one.name), typed(one.value, one.name)});
    return Value::object(std::move(fields), kStruct);
  }
  if (json.is_object()) {
    tmpl::Map map;
    const bool texts = std::all_of(json.members.begin(), json.members.end(), [](const auto& one) { return one.value.is_string(); });
    for (const oci::Json::Member& one : json.members)
      map.emplace(one.name, texts ? Value::string(one.value.text) : untyped_json(one.value));
    return Value::map(std::move(map), texts ? tmpl::types::kStringMap : tmpl::types::kAnyMap);
  }
  if (json.is_array()) {
    tmpl::List items;
    const bool texts = std::all_of(json.items.begin(), json.items.end(), [](const oci::Json& one) { return one.is_string(); });
    for (const oci::Json& item : json.items) items.push_back(typed(item));
    return Value::list(std::move(items), texts ? tmpl::types::kStrings : kObjects);
  }
  if (json.type == oci::Json::Type::kNumber) return number(json);
  if (json.type == oci::Json::Type::kBool) return Value::boolean(json.boolean);
  return json.is_null() ? Value::nil() : Value::string(json.text);
}

Result<Value> RemoteView::manifest(const registry::Document& document) {
  oci::Json out = oci::json_object({{"mediaType", oci::json_text(document.media_type)},
                                    {"digest", oci::json_text(document.digest.str())},
                                    {"size", oci::json_number(static_cast<int64_t>(document.bytes.size()))}});
  if (!document.is_index) return typed(out);
  const oci::Json index = TRY(oci::Json::parse(document.bytes, "image index"));
  out.members.insert(out.members.begin(), {"schemaVersion", oci::json_number(2)});
  for (const char* name : {"manifests", "annotations"})
    if (const oci::Json* value = index.find(name)) oci::set_member(out, name, *value);
  return typed(out);
}

struct RemoteView::Content {
  Value image, provenance, sbom;
};

Result<Value> RemoteView::make(const std::string& name, const registry::Document& document,
                               transfer::ImageSource& source, bool with_content, const std::stop_token& stop) {
  std::vector<Part> parts;
  if (document.is_index) {
    parts = parts_of(TRY(oci::Index::parse(document.bytes)));
  } else {
    Part only;
    only.entry.digest = document.digest.str();
    only.entry.size = static_cast<int64_t>(document.bytes.size());
    parts.push_back(std::move(only));
  }
  const auto read = [&](const Part& part) -> Result<Content> {
    Content out{Value::nil(), Value::object({}, kStruct), Value::object({}, kStruct)};
    const registry::Document own = document.is_index ? TRY(source.document(part.entry, stop)) : document;
    const oci::Manifest parsed = TRY(oci::Manifest::parse(own.bytes));
    out.image = typed(TRY(oci::Json::parse(TRY(transfer::read_small_blob(source, parsed.config, stop)), "image config")));
    for (const oci::Descriptor& entry : part.attestations) {
      const oci::Manifest statements = TRY(oci::Manifest::parse(TRY(source.document(entry, stop)).bytes));
      for (const oci::Descriptor& layer : statements.layers) {
        const auto type = layer.annotations.find("in-toto.io/predicate-type");
        if (type == layer.annotations.end()) continue;
        const bool slsa = type->second.starts_with("https://slsa.dev/provenance/");
        if (!slsa && type->second != "https://spdx.dev/Document") continue;
        const oci::Json statement = TRY(oci::Json::parse(TRY(transfer::read_small_blob(source, layer, stop)), "statement"));
        const oci::Json* predicate = statement.is_object() ? statement.find("predicate") : nullptr;
        if (!predicate) continue;
        (slsa ? out.provenance : out.sbom) =
            Value::object({{slsa ? "SLSA" : "SPDX", slsa ? "SLSA" : "SPDX", untyped_json(*predicate)}}, kStruct);
      }
    }
    return out;
  };
  Value image = Value::nil(), provenance = Value::nil(), sbom = Value::nil();
  if (with_content && parts.size() == 1) {
    Content one = TRY(read(parts[0]));
    image = one.image;
    provenance = one.provenance;
    sbom = one.sbom;
  } else if (with_content) {
    tmpl::Map images, provenances, sboms;
    for (const Part& part : parts) {
      Content one = TRY(read(part));
      images.emplace(part.platform, one.image);
      provenances.emplace(part.platform, one.provenance);
      sboms.emplace(part.platform, one.sbom);
    }
    image = Value::map(std::move(images), kByPlatform);
    provenance = Value::map(std::move(provenances), kByPlatform);
    sbom = Value::map(std::move(sboms), kByPlatform);
  }
  return Value::object({{"Name", "name", Value::string(name)},
                        {"Manifest", "manifest", TRY(manifest(document))},
                        {"Image", "image", image},
                        {"Provenance", "provenance", provenance, true},
                        {"SBOM", "sbom", sbom, true}},
                       kStruct);
}

}  // namespace kasane::cli
