#include "registry/credentials.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdlib>

#include "base/base64.h"
#include "base/fd.h"
#include "base/text.h"
#include "oci/json.h"
#include "registry/config_files.h"
#include "registry/credential_helper.h"

namespace kasane::registry {
namespace {

constexpr std::string_view kHub = "docker.io";
constexpr std::string_view kHubKey = "https://index.docker.io/v1/";

// The host of an old key that is a URL or ends in an API version; "" for "host" and "host/path".
std::string legacy_host(const std::string& key) {
  std::string rest = ascii_lower(key);
  bool url = false;
  for (std::string_view scheme : {"https://", "http://"})
    if (rest.starts_with(scheme)) {
      rest.erase(0, scheme.size());
      url = true;
    }
  const size_t slash = rest.find('/');
  const std::string path = slash == std::string::npos ? "" : rest.substr(slash);
  if (!url && path != "/v1" && path != "/v1/" && path != "/v2" && path != "/v2/") return "";
  const std::string host = rest.substr(0, slash);
  return host == "index.docker.io" || host == "registry-1.docker.io" ? std::string(kHub) : host;
}

// The member for the host and path: "host/a/b", "host/a", "host", then old keys.
const oci::Json::Member* find_entry(const oci::Json& auths, const std::string& host,
                                    const std::string& repository) {
  std::string key = repository.empty() ? host : host + "/" + repository;
  for (;;) {
    for (const oci::Json::Member& member : auths.members)
      if (member.name == key) return &member;
    const size_t slash = key.rfind('/');
    if (slash == std::string::npos) break;
    key.resize(slash);
  }
  for (const oci::Json::Member& member : auths.members)
    if (member.name == storage_key(host)) return &member;
  for (const oci::Json::Member& member : auths.members)
    if (legacy_host(member.name) == host) return &member;
  return nullptr;
}

// nullopt for an empty entry (a helper has the secret) and for a broken one, with a problem.
std::optional<Credential> read_entry(const oci::Json::Member& member, const std::string& file,
                                     std::vector<std::string>& problems) {
  const auto broken = [&](std::string why) {
    problems.push_back(file + ": auths." + member.name + ": " + std::move(why));
    return std::nullopt;
  };
  if (!member.value.is_object()) return broken("not an object");
  oci::JsonReader in(member.value, file, "auths.");
  Credential out;
  out.source = file;
  std::string auth;
  if (!in.get("auth", auth) || !in.get("username", out.username) ||
      !in.get("password", out.password) || !in.get("identitytoken", out.identity_token) ||
      !in.get("registrytoken", out.registry_token))
    return broken("a member is not text");
  if (!auth.empty()) {
    std::optional<std::string> text = decode_base64(auth, Padding::kOptional);
    const size_t colon = text ? text->find(':') : std::string::npos;
    if (colon == std::string::npos) return broken("auth is not base64 of user:password");
    out.username = text->substr(0, colon);
    out.password = text->substr(colon + 1);
    while (out.password.ends_with('\0')) out.password.pop_back();
  }
  const std::string all = out.username + out.password + out.identity_token + out.registry_token;
  if (all.find_first_of(std::string_view("\0\r\n", 3)) != std::string::npos)
    return broken("it holds a line break or a NUL byte");
  if (all.empty()) return std::nullopt;
  return out;
}

struct AuthFile {
  std::string path;
  oci::Json json;
};

Result<std::optional<AuthFile>> open_auth_file(const std::string& path) {
  if (path.empty()) return std::optional<AuthFile>();
  std::optional<std::string> text = TRY(read_if_exists(path));
  if (!text || text->find_first_not_of(" \t\r\n") == std::string::npos)
    return std::optional<AuthFile>();
  AuthFile file{path, TRY(oci::Json::parse(*text, path))};
  if (!file.json.is_object()) return Error(ErrorKind::kInvalid, path + ": not a JSON object");
  return std::optional<AuthFile>(std::move(file));
}

std::string helper_for(const oci::Json& config, const std::string& host) {
  if (const oci::Json* helpers = config.find("credHelpers"); helpers && helpers->is_object())
    for (const std::string& key : {host, storage_key(host)})
      if (const oci::Json* name = helpers->find(key); name && name->is_string()) return name->text;
  const oci::Json* store = config.find("credsStore");
  return store && store->is_string() ? store->text : "";
}

class Lookup {
 public:
  Lookup(const std::string& host, const std::string& repository, std::stop_token stop)
      : host_(host), repository_(repository), stop_(std::move(stop)) {}
  CredentialLookup out;

  bool found() const { return out.credential.has_value(); }
  void ask(const std::string& helper) {
    Result<std::optional<Credential>> got = helper_get(helper, storage_key(host_), stop_);
    if (got)
      out.credential = std::move(*got);
    else
      out.problems.push_back(got.error().full_message());
  }
  void search(const AuthFile& file) {
    if (const std::string helper = helper_for(file.json, host_); !helper.empty()) ask(helper);
    const oci::Json* auths = file.json.find("auths");
    if (found() || !auths || !auths->is_object()) return;
    if (const oci::Json::Member* entry = find_entry(*auths, host_, repository_))
      out.credential = read_entry(*entry, file.path, out.problems);
  }
  Result<void> search(const std::string& path) {
    if (found()) return {};
    if (std::optional<AuthFile> file = TRY(open_auth_file(path))) search(*file);
    return {};
  }

 private:
  const std::string& host_;
  const std::string& repository_;
  std::stop_token stop_;
};

// As docker: unknown members are an error, because a typing error would mean "anonymous".
Result<AuthFile> parse_environment(const std::string& text) {
  constexpr std::string_view kName = "DOCKER_AUTH_CONFIG";
  AuthFile file{std::string(kName), TRY(oci::Json::parse(text, kName))};
  bool fine = file.json.is_object();
  for (const oci::Json::Member& member : file.json.members) {
    fine = fine && member.name == "auths" && member.value.is_object();
    if (!fine) break;
    for (const oci::Json::Member& entry : member.value.members)
      for (const oci::Json::Member& value : entry.value.members) fine = fine && value.name == "auth";
  }
  if (!fine)
    return Error(ErrorKind::kInvalid, "DOCKER_AUTH_CONFIG may hold only \"auths\", and its entries only \"auth\"")
        .hint("for example {\"auths\":{\"registry.example\":{\"auth\":\"BASE64 OF USER:PASSWORD\"}}}");
  return file;
}

// ---- writing config.json

void set_member(oci::Json& object, const std::string& name, oci::Json value) {
  for (oci::Json::Member& member : object.members)
    if (member.name == name) {
      member.value = std::move(value);
      return;
    }
  object.members.push_back({name, std::move(value)});
}

oci::Json text_value(std::string text) {
  oci::Json out;
  out.type = oci::Json::Type::kString;
  out.text = std::move(text);
  return out;
}

oci::Json empty_object() {
  oci::Json out;
  out.type = oci::Json::Type::kObject;
  return out;
}

// Tab-indented, as docker's.
void write_indented(const oci::Json& json, std::string& out, size_t depth) {
  const bool object = json.is_object();
  const size_t count = object ? json.members.size() : json.items.size();
  if ((!object && !json.is_array()) || count == 0) return json.write(out);
  out += object ? "{\n" : "[\n";
  for (size_t i = 0; i < count; ++i) {
    out.append(depth + 1, '\t');
    if (object) {
      oci::write_json_string(out, json.members[i].name);
      out += ": ";
    }
    write_indented(object ? json.members[i].value : json.items[i], out, depth + 1);
    out += i + 1 < count ? ",\n" : "\n";
  }
  out.append(depth, '\t');
  out += object ? '}' : ']';
}

struct ConfigFile {
  std::string path;  // links followed: the target is replaced, not the link
  mode_t mode = 0600;
  bool exists = false;
  uid_t uid = 0;
  gid_t gid = 0;
  oci::Json json = empty_object();
};

Result<ConfigFile> open_config(const Surroundings& around) {
  ConfigFile out;
  out.path = TRY(docker_config_path(around));
  char real[PATH_MAX];
  if (::realpath(out.path.c_str(), real)) out.path = real;
  if (std::optional<AuthFile> file = TRY(open_auth_file(out.path))) out.json = std::move(file->json);
  struct stat st;
  if (::stat(out.path.c_str(), &st) == 0) {
    out.exists = true;
    out.mode = st.st_mode & 07777;
    out.uid = st.st_uid;
    out.gid = st.st_gid;
  }
  return out;
}

Result<void> save_config(const ConfigFile& config) {
  std::string text;
  write_indented(config.json, text, 0);
  TRY(make_directories(config.path.substr(0, config.path.rfind('/')), 0700));
  TRY(replace_file(config.path, text, config.mode));
  // sudo must not take the file away from its owner.
  if (config.exists && config.uid != ::geteuid() &&
      ::chown(config.path.c_str(), config.uid, config.gid) != 0)
    return Error::from_errno(errno, "keep the owner of " + config.path);
  return {};
}

oci::Json* auths_of(oci::Json& config) {
  for (oci::Json::Member& member : config.members)
    if (member.name == "auths" && member.value.is_object()) return &member.value;
  set_member(config, "auths", empty_object());
  for (oci::Json::Member& member : config.members)
    if (member.name == "auths") return &member.value;
  return nullptr;  // not reached
}

}  // namespace

std::string storage_key(const std::string& host) {
  return host == kHub ? std::string(kHubKey) : host;
}

Result<std::string> docker_config_path(const Surroundings& around) {
  if (std::string folder = around.env("DOCKER_CONFIG"); !folder.empty())
    return folder + "/config.json";
  if (around.home().empty())
    return Error(ErrorKind::kNotFound, "HOME is not set, so there is no docker configuration")
        .hint("set HOME or DOCKER_CONFIG");
  return around.home() + "/.docker/config.json";
}

Result<CredentialLookup> find_credential(const Surroundings& around, const std::string& host,
                                         const std::string& repository, std::stop_token stop) {
  Lookup lookup(host, repository, stop);
  if (const std::string text = around.env("DOCKER_AUTH_CONFIG"); !text.empty())
    lookup.search(TRY(parse_environment(text)));
  const std::string given = around.env("REGISTRY_AUTH_FILE");
  if (!given.empty()) TRY(lookup.search(given));
  if (Result<std::string> config = docker_config_path(around)) TRY(lookup.search(*config));
  if (given.empty()) {
    if (std::string dir = around.env("XDG_RUNTIME_DIR"); !dir.empty())
      TRY(lookup.search(dir + "/containers/auth.json"));
    if (std::string dir = around.config_home(); !dir.empty())
      TRY(lookup.search(dir + "/containers/auth.json"));
  }
  if (!lookup.found()) {
    const RegistriesConf conf = TRY(load_registries_conf(around));
    for (const std::string& helper : conf.credential_helpers)
      if (helper != "containers-auth.json" && !lookup.found()) lookup.ask(helper);
  }
  return std::move(lookup.out);
}

Result<StoredAt> store_credential(const Surroundings& around, const std::string& host,
                                  const Credential& credential, std::stop_token stop) {
  ConfigFile config = TRY(open_config(around));
  StoredAt out{config.path, helper_for(config.json, host)};
  oci::Json entry = empty_object();
  if (out.helper.empty()) {
    set_member(entry, "auth", text_value(base64(credential.username + ":" + credential.password)));
    if (!credential.identity_token.empty()) {
      set_member(entry, "auth", text_value(base64(credential.username + ":")));
      set_member(entry, "identitytoken", text_value(credential.identity_token));
    }
  } else {
    TRY(helper_store(out.helper, storage_key(host), credential, stop));
  }
  set_member(*auths_of(config.json), storage_key(host), std::move(entry));
  TRY(save_config(config));
  return out;
}

Result<void> erase_credential(const Surroundings& around, const std::string& host,
                              std::stop_token stop) {
  ConfigFile config = TRY(open_config(around));
  const std::string key = storage_key(host);
  if (const std::string helper = helper_for(config.json, host); !helper.empty())
    TRY(helper_erase(helper, key, stop));
  oci::Json* auths = auths_of(config.json);
  const size_t erased = std::erase_if(auths->members, [&](const oci::Json::Member& member) {
    return member.name == key || member.name == "https://" + key || member.name == "http://" + key ||
           legacy_host(member.name) == host;
  });
  if (erased == 0) return {};
  return save_config(config);
}

}  // namespace kasane::registry
