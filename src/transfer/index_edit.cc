#include "transfer/index_edit.h"

#include <algorithm>

namespace kasane::transfer {
namespace {

constexpr std::string_view kReferenceDigest = "vnd.docker.reference.digest";

oci::Json* find_member(oci::Json& object, std::string_view name) {
  for (oci::Json::Member& member : object.members)
    if (member.name == name) return &member.value;
  return nullptr;
}

bool has_platform(const oci::Json& entry) {
  const oci::Json* platform = entry.find("platform");
  return platform && platform->is_object();
}

// The image that an attestation manifest is about.
std::string attested(const oci::Json& entry) {
  const oci::Json* annotations = entry.find("annotations");
  return annotations && annotations->is_object() ? oci::member_text(*annotations, kReferenceDigest) : std::string();
}

}  // namespace

oci::Json entry_for(const registry::Document& document, const oci::Platform* platform) {
  oci::Json out = oci::json_object({{"mediaType", oci::json_text(document.media_type)},
                               {"digest", oci::json_text(document.digest.str())},
                               {"size", oci::json_number(static_cast<int64_t>(document.bytes.size()))}});
  if (!platform) return out;
  oci::Json in = oci::json_object({{"architecture", oci::json_text(platform->architecture)}, {"os", oci::json_text(platform->os)}});
  if (!platform->os_version.empty()) oci::set_member(in, "os.version", oci::json_text(platform->os_version));
  if (!platform->variant.empty()) oci::set_member(in, "variant", oci::json_text(platform->variant));
  oci::set_member(out, "platform", std::move(in));
  return out;
}

std::optional<oci::Platform> platform_of(const oci::Json& entry) {
  if (!has_platform(entry)) return std::nullopt;
  const oci::Json& platform = *entry.find("platform");
  oci::Platform out{oci::member_text(platform, "os"), oci::member_text(platform, "architecture"),
                    oci::member_text(platform, "variant"), oci::member_text(platform, "os.version")};
  return out.normalized();
}

Result<IndexEdit> IndexEdit::of(const registry::Document& document, const oci::Platform* platform) {
  IndexEdit out;
  if (!document.is_index) {
    out.entries.push_back(entry_for(document, platform));
    return out;
  }
  const oci::Index parsed = TRY(oci::Index::parse(document.bytes));
  out.annotations = parsed.annotations;
  out.media_type = document.media_type;
  const oci::Json json = TRY(oci::Json::parse(document.bytes, "image index"));
  out.entries = json.find("manifests")->items;
  return out;
}

void IndexEdit::add(oci::Json entry) {
  const std::string digest = oci::member_text(entry, "digest");
  const auto known = std::find_if(entries.begin(), entries.end(),
                                  [&](const oci::Json& one) { return oci::member_text(one, "digest") == digest; });
  if (known == entries.end()) {
    entries.push_back(std::move(entry));
    return;
  }
  if (has_platform(entry)) oci::set_member(*known, "platform", *entry.find("platform"));
  const oci::Json* notes = entry.find("annotations");
  if (!notes || !notes->is_object()) return;
  if (!known->find("annotations")) oci::set_member(*known, "annotations", oci::json_object({}));
  for (const oci::Json::Member& one : notes->members)
    oci::set_member(*find_member(*known, "annotations"), one.name, one.value);
}

void IndexEdit::join(oci::Json entry) {
  const std::optional<oci::Platform> platform = platform_of(entry);
  const std::string digest = oci::member_text(entry, "digest");
  std::vector<std::string> gone;
  const auto same = [&](const oci::Json& one) {
    if (!attested(one).empty()) return false;
    return oci::member_text(one, "digest") == digest || (platform && platform_of(one) == platform);
  };
  const auto first = std::find_if(entries.begin(), entries.end(), same);
  const auto position = first - entries.begin();
  const bool replaces = first != entries.end();
  for (const oci::Json& one : entries)
    if (same(one) && oci::member_text(one, "digest") != digest) gone.push_back(oci::member_text(one, "digest"));
  std::erase_if(entries, [&](const oci::Json& one) {
    return same(one) || std::find(gone.begin(), gone.end(), attested(one)) != gone.end();
  });
  const auto at = replaces ? std::min<std::ptrdiff_t>(position, static_cast<std::ptrdiff_t>(entries.size()))
                           : static_cast<std::ptrdiff_t>(entries.size());
  entries.insert(entries.begin() + at, std::move(entry));
}

std::string IndexEdit::digest_for(const oci::Platform& platform) const {
  for (const oci::Json& entry : entries)
    if (attested(entry).empty() && platform_of(entry) == platform.normalized()) return oci::member_text(entry, "digest");
  return "";
}

std::string IndexEdit::type() const {
  if (!media_type.empty()) return media_type;
  const bool docker = std::all_of(entries.begin(), entries.end(), [](const oci::Json& entry) {
    return oci::member_text(entry, "mediaType").starts_with("application/vnd.docker.");
  });
  return std::string(docker && !entries.empty() ? oci::kDockerIndex : oci::kMediaTypeIndex);
}

std::string IndexEdit::serialize(int indent) const {
  oci::Json list;
  list.type = oci::Json::Type::kArray;
  list.items = entries;
  oci::Json out = oci::json_object({{"schemaVersion", oci::json_number(2)}, {"mediaType", oci::json_text(type())}, {"manifests", list}});
  oci::Json notes = oci::json_object({});
  for (const auto& [key, value] : annotations) notes.members.push_back({key, oci::json_text(value)});
  if (!annotations.empty()) oci::set_member(out, "annotations", std::move(notes));
  if (indent > 0) return oci::indented(out, std::string(static_cast<size_t>(indent), ' '));
  std::string text;
  out.write(text);
  return text;
}

}  // namespace kasane::transfer
