
#include <algorithm>
#include <memory>

#include "base/fd.h"
#include "registry/config_files.h"
#include "registry/toml.h"

namespace kasane::registry {
namespace {

std::vector<std::string> drop_ins(const std::string& folder) {
  std::vector<std::string> out;
  for (const std::string& name : list_directory(folder).value_or(std::vector<std::string>()))
    if (name.ends_with(".conf")) out.push_back(folder + "/" + name);
  return out;
}

// Locations may carry a scheme in files that other tools accept by accident.
std::string clean_location(std::string text) {
  for (std::string_view scheme : {"https://", "http://"})
    if (text.starts_with(scheme)) text.erase(0, scheme.size());
  while (text.ends_with('/')) text.pop_back();
  return text;
}

Result<ConfiguredMirror> read_mirror(const oci::Json& json, const std::string& file,
                                     bool digest_only) {
  if (!json.is_object()) return Error(ErrorKind::kInvalid, file + ": a mirror is not a table");
  oci::JsonReader in(json, file, "registry.mirror.");
  ConfiguredMirror out;
  std::string use;
  TRY(in.get("location", out.location));
  TRY(in.get("insecure", out.insecure));
  TRY(in.get("pull-from-mirror", use));
  out.location = clean_location(out.location);
  if (out.location.empty()) return in.error("location", "is missing");
  if (use == "digest-only" || (use.empty() && digest_only))
    out.use = ConfiguredMirror::Use::kDigestOnly;
  else if (use == "tag-only")
    out.use = ConfiguredMirror::Use::kTagOnly;
  else if (!use.empty() && use != "all")
    return in.error("pull-from-mirror", "is none of all, digest-only and tag-only");
  return out;
}

Result<ConfiguredRegistry> read_registry(const oci::Json& json, const std::string& file) {
  if (!json.is_object()) return Error(ErrorKind::kInvalid, file + ": a registry is not a table");
  oci::JsonReader in(json, file, "registry.");
  ConfiguredRegistry out;
  out.file = file;
  bool digest_only = false;
  TRY(in.get("prefix", out.prefix));
  TRY(in.get("location", out.location));
  TRY(in.get("insecure", out.insecure));
  TRY(in.get("blocked", out.blocked));
  TRY(in.get("mirror-by-digest-only", digest_only));
  out.location = clean_location(out.location);
  out.prefix = clean_location(out.prefix.empty() ? out.location : out.prefix);
  if (out.prefix.empty()) return in.error("prefix", "and location are missing");
  if (const oci::Json* mirrors = TRY(in.array("mirror")))
    for (const oci::Json& mirror : mirrors->items)
      out.mirrors.push_back(TRY(read_mirror(mirror, file, digest_only)));
  return out;
}

Result<void> read_into(RegistriesConf& conf, const std::string& path) {
  std::optional<std::string> text = TRY(read_if_exists(path));
  if (!text) return {};
  conf.files.push_back(path);
  const oci::Json json = TRY(parse_toml(*text, path));
  if (json.find("registries"))
    return Error(ErrorKind::kUnsupported, path + ": version 1 of registries.conf is not supported")
        .hint("write [[registry]] tables; see containers-registries.conf(5)");
  oci::JsonReader in(json, path);
  std::vector<std::string> helpers;
  TRY(in.get("credential-helpers", helpers));
  if (!helpers.empty()) conf.credential_helpers = std::move(helpers);
  const oci::Json* list = TRY(in.array("registry"));
  if (!list) return {};
  for (const oci::Json& item : list->items) {
    ConfiguredRegistry entry = TRY(read_registry(item, path));
    std::erase_if(conf.registries,
                  [&](const ConfiguredRegistry& old) { return old.prefix == entry.prefix; });
    conf.registries.push_back(std::move(entry));
  }
  return {};
}

// How many bytes of the name the prefix covers; npos: none.
size_t covered(std::string_view prefix, std::string_view name) {
  if (prefix.starts_with("*.")) {
    const std::string_view host = name.substr(0, name.find('/'));
    const bool fits = host.size() > prefix.size() - 1 && host.ends_with(prefix.substr(1));
    return fits ? host.size() : std::string_view::npos;
  }
  if (!name.starts_with(prefix)) return std::string_view::npos;
  const bool whole = name.size() == prefix.size() || name[prefix.size()] == '/';
  return whole ? prefix.size() : std::string_view::npos;
}

}  // namespace

const ConfiguredRegistry* RegistriesConf::match(std::string_view name) const {
  const ConfiguredRegistry* best = nullptr;
  for (const ConfiguredRegistry& entry : registries) {
    if (covered(entry.prefix, name) == std::string_view::npos) continue;
    if (!best || entry.prefix.size() > best->prefix.size()) best = &entry;
  }
  return best;
}

std::string rewrite_name(const ConfiguredRegistry& entry, const std::string& location,
                         std::string_view name) {
  const size_t length = covered(entry.prefix, name);
  if (location.empty() || length == std::string_view::npos) return std::string(name);
  return location + std::string(name.substr(length));
}

Result<RegistriesConf> load_registries_conf(const Surroundings& around) {
  RegistriesConf conf;
  const std::string user = around.config_home().empty() ? "" : around.config_home() + "/containers";
  const std::string given = around.env("CONTAINERS_REGISTRIES_CONF");
  if (!given.empty()) {
    TRY(read_into(conf, given));
  } else {
    if (!user.empty()) TRY(read_into(conf, user + "/registries.conf"));
    if (conf.files.empty()) TRY(read_into(conf, around.etc + "/containers/registries.conf"));
  }
  for (const std::string& path : drop_ins(around.etc + "/containers/registries.conf.d"))
    TRY(read_into(conf, path));
  if (!user.empty())
    for (const std::string& path : drop_ins(user + "/registries.conf.d")) TRY(read_into(conf, path));
  return conf;
}

}  // namespace kasane::registry
