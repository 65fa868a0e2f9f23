#include "cli/manifest_lists.h"

#include <algorithm>

#include "base/base64.h"
#include "base/fd.h"

namespace kasane::cli {
namespace {

constexpr uint64_t kMaxMemberBytes = 16u << 20;

// docker's makeFilesafeName(). The grammar of references has no "..", no leading dot and no NUL.
std::string file_name(const oci::Reference& reference) {
  std::string out = reference.canonical();
  std::replace(out.begin(), out.end(), ':', '-');
  std::replace(out.begin(), out.end(), '/', '_');
  return out;
}

Result<ListMember> parse_member(const std::string& text, const std::string& path) {
  const oci::Json json = TRY(oci::Json::parse(text, path));
  const auto broken = [&](const char* what) {
    return Error(ErrorKind::kInvalid, path + ": " + what).hint("`kasane manifest rm` removes the list");
  };
  const oci::Json* descriptor = json.find("Descriptor");
  if (!json.is_object() || !descriptor || !descriptor->is_object()) return broken("it has no Descriptor");
  ListMember out;
  out.reference = TRY_CONTEXT(oci::Reference::parse(oci::member_text(json, "Ref")), path);
  out.descriptor = *descriptor;
  if (const auto raw = decode_base64(oci::member_text(json, "Raw"), Padding::kRequired))
    out.raw.assign(raw->begin(), raw->end());
  if (sha256(out.raw).str() != out.digest()) return broken("its Raw manifest is not that of its digest");
  return out;
}

}  // namespace

bool ListMember::is_oci() const { return oci::member_text(descriptor, "mediaType") == oci::kMediaTypeManifest; }

oci::Json ListMember::json() const {
  Result<oci::Json> manifest = oci::Json::parse(raw, "manifest");
  return oci::json_object({{"Ref", oci::json_text(reference.canonical())},
                           {"Descriptor", descriptor},
                           {"Raw", oci::json_text(base64(raw))},
                           {is_oci() ? "OCIManifest" : "SchemaV2Manifest", manifest ? *manifest : oci::Json()}});
}

ManifestLists::ManifestLists(const Context& context) {
  root_ = context.env("DOCKER_CONFIG").value_or("");
  if (root_.empty()) root_ = context.env("HOME").value_or("/root") + "/.docker";
  root_ += "/manifests";
}

std::string ManifestLists::folder(const oci::Reference& list) const { return root_ + "/" + file_name(list); }

Result<bool> ManifestLists::exists(const oci::Reference& list) const {
  return !TRY(list_directory(folder(list))).empty();
}

Result<std::vector<ListMember>> ManifestLists::read(const oci::Reference& list) const {
  std::vector<ListMember> out;
  for (const std::string& name : TRY(list_directory(folder(list)))) {
    if (name.starts_with('.')) continue;
    const std::string path = folder(list) + "/" + name;
    out.push_back(TRY(parse_member(TRY(read_file(path, kMaxMemberBytes)), path)));
  }
  return out;
}

Result<std::optional<ListMember>> ManifestLists::find(const oci::Reference& list, const oci::Reference& member) const {
  const std::string path = folder(list) + "/" + file_name(member);
  const std::optional<std::string> text = TRY(read_if_there(path, kMaxMemberBytes));
  if (!text) return std::optional<ListMember>();
  return std::optional<ListMember>(TRY(parse_member(*text, path)));
}

Result<void> ManifestLists::save(const oci::Reference& list, const ListMember& member) const {
  TRY(make_directories(folder(list), 0700));
  std::string text;
  member.json().write(text);
  return replace_file(folder(list) + "/" + file_name(member.reference), text, 0600);
}

Result<void> ManifestLists::remove(const oci::Reference& list) const {
  if (!TRY(exists(list))) return Error(ErrorKind::kNotFound, "No such manifest: " + list.canonical());
  return remove_tree(folder(list));
}

Result<ListMember> member_of(registry::Repository& repository, const oci::Reference& reference,
                             const registry::Document& document, const std::stop_token& stop) {
  const oci::Manifest manifest = TRY(oci::Manifest::parse(document.bytes));
  const oci::Json config = TRY(oci::Json::parse(TRY(repository.blob_text(manifest.config, stop)), "image config"));
  ListMember out;
  out.reference = reference;
  out.raw = document.bytes;
  out.descriptor = oci::json_object({{"mediaType", oci::json_text(document.media_type)},
                                     {"digest", oci::json_text(document.digest.str())},
                                     {"size", oci::json_number(static_cast<int64_t>(document.bytes.size()))}});
  oci::Json platform = oci::json_object({});
  for (const char* name : {"architecture", "os", "os.version", "os.features", "variant"})
    if (const oci::Json* value = config.is_object() ? config.find(name) : nullptr; value && !value->is_null())
      if (value->is_array() || !value->text.empty()) oci::set_member(platform, name, *value);
  oci::set_member(out.descriptor, "platform", std::move(platform));
  return out;
}

Result<ListMember> fetch_member(registry::Repository& repository, const oci::Reference& reference,
                                const std::stop_token& stop) {
  const registry::Document document =
      TRY(repository.document(reference.digest.empty() ? reference.tag : reference.digest, stop));
  if (document.is_index) return Error(ErrorKind::kInvalid, reference.canonical() + " is a manifest list");
  return member_of(repository, reference, document, stop);
}

std::string docker_list(const std::vector<ListMember>& members) {
  std::vector<oci::Json> entries;
  for (const ListMember& member : members) {
    // The member order of docker's structure.
    oci::Json entry = oci::json_object({});
    for (const char* name : {"mediaType", "size", "digest", "urls", "annotations", "platform"})
      if (const oci::Json* value = member.descriptor.find(name)) oci::set_member(entry, name, *value);
    entries.push_back(std::move(entry));
  }
  return oci::indented(oci::json_object({{"schemaVersion", oci::json_number(2)},
                                         {"mediaType", oci::json_text(std::string(oci::kDockerIndex))},
                                         {"manifests", oci::json_list(std::move(entries))}}),
                       "   ");
}

Result<oci::Reference> list_reference(const std::string& text) {
  return TRY_CONTEXT(oci::Reference::parse(text), "error parsing name \"" + text + "\"").with_default_tag();
}

}  // namespace kasane::cli
