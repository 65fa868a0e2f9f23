// containerd's hosts.toml, the certs.d folders of all three, and docker's daemon.json.
#include <algorithm>
#include <charconv>
#include <memory>

#include "base/fd.h"
#include "net/address.h"
#include "registry/config_files.h"
#include "registry/toml.h"

namespace kasane::registry {
namespace {

// What cannot be read counts as empty.
std::vector<std::string> file_names(const std::string& folder) {
  return list_directory(folder).value_or(std::vector<std::string>());
}

std::string absolute(const std::string& path, const std::string& folder) {
  return path.starts_with('/') ? path : folder + "/" + path;
}

// "x" or ["x", "y"].
Result<std::vector<std::string>> strings(const oci::JsonReader& in, const oci::Json& json,
                                         std::string_view key) {
  const oci::Json* value = json.find(key);
  if (!value || value->is_null()) return std::vector<std::string>();
  if (value->is_string()) return std::vector<std::string>{value->text};
  std::vector<std::string> out;
  TRY(in.get(key, out));
  return out;
}

// "pair.pem", ["a.pem", "b.pem"] (certificate and key in one file) or [["cert", "key"], ...].
Result<void> read_clients(const oci::JsonReader& in, const oci::Json& json,
                          const std::string& folder, TlsFiles& out) {
  const oci::Json* value = json.find("client");
  if (!value || value->is_null()) return {};
  std::vector<const oci::Json*> items;
  if (value->is_array())
    for (const oci::Json& item : value->items) items.push_back(&item);
  else
    items.push_back(value);
  for (const oci::Json* item : items) {
    std::vector<std::string> parts;
    if (item->is_string()) parts.push_back(item->text);
    if (item->is_array())
      for (const oci::Json& part : item->items)
        if (part.is_string()) parts.push_back(part.text);
    if (parts.empty() || parts.size() > 2)
      return in.error("client", "is not a file or a list of [certificate, key]");
    const std::string key = parts.size() > 1 && !parts[1].empty() ? parts[1] : parts[0];
    out.clients.emplace_back(absolute(parts[0], folder), absolute(key, folder));
  }
  return {};
}

Result<void> read_headers(const oci::JsonReader& in, HostEntry& out) {
  const oci::Json* headers = TRY(in.object("header"));
  if (!headers) return {};
  for (const oci::Json::Member& member : headers->members) {
    if (member.value.is_string()) out.headers.push_back(member.name + ": " + member.value.text);
    for (const oci::Json& item : member.value.items)
      if (item.is_string()) out.headers.push_back(member.name + ": " + item.text);
  }
  return {};
}

int64_t parse_seconds(const std::string& text) {  // "3s", "500ms"
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || value < 0 || value > 86400) return 0;
  const std::string_view unit(end, static_cast<size_t>(text.data() + text.size() - end));
  return unit == "ms" ? value : unit == "s" ? value * 1000 : unit == "m" ? value * 60'000 : 0;
}

Result<HostEntry> read_host(const oci::Json& json, const std::string& file, std::string prefix) {
  if (!json.is_object()) return Error(ErrorKind::kInvalid, file + ": " + prefix + " is no table");
  const std::string folder = file.substr(0, file.rfind('/'));
  oci::JsonReader in(json, file, std::move(prefix));
  HostEntry out;
  if (json.find("capabilities")) {
    out.pull = out.resolve = out.push = false;
    for (const std::string& word : TRY(strings(in, json, "capabilities"))) {
      out.pull |= word == "pull";
      out.resolve |= word == "resolve";
      out.push |= word == "push";
    }
  }
  std::vector<std::string> ca = TRY(strings(in, json, "ca"));
  for (const std::string& path : ca) out.tls.ca.push_back(absolute(path, folder));
  TRY(read_clients(in, json, folder, out.tls));
  TRY(in.get("skip_verify", out.skip_verify));
  TRY(in.get("override_path", out.override_path));
  TRY(read_headers(in, out));
  std::string timeout;
  TRY(in.get("dial_timeout", timeout));
  out.dial_timeout_ms = parse_seconds(timeout);
  return out;
}

std::string with_scheme(std::string url) {
  if (url.find("://") == std::string::npos) url = "https://" + url;
  while (url.ends_with('/')) url.pop_back();
  return url;
}

std::vector<std::string> containerd_folders(const Surroundings& around) {
  std::vector<std::string> out;
  if (std::string config = around.config_home(); !config.empty())
    out.push_back(config + "/containerd/certs.d");
  out.push_back(around.etc + "/containerd/certs.d");
  return out;
}

// containerd writes "host_port_" where ':' is no good in a file name.
std::vector<std::string> folder_names(const std::string& host) {
  std::vector<std::string> out;
  if (const size_t colon = host.rfind(':'); colon != std::string::npos && !host.ends_with(']'))
    out.push_back(host.substr(0, colon) + "_" + host.substr(colon + 1) + "_");
  out.push_back(host);
  return out;
}

Result<HostsFile> parse_hosts(const std::string& text, const std::string& path) {
  const oci::Json json = TRY(parse_toml(text, path));
  HostsFile out;
  out.file = path;
  out.server = TRY(read_host(json, path, ""));
  oci::JsonReader in(json, path);
  TRY(in.get("server", out.server.url));
  if (!out.server.url.empty()) out.server.url = with_scheme(out.server.url);
  if (const oci::Json* hosts = TRY(in.object("host")))
    for (const oci::Json::Member& member : hosts->members) {
      HostEntry entry = TRY(read_host(member.value, path, "host." + member.name + "."));
      entry.url = with_scheme(member.name);
      out.hosts.push_back(std::move(entry));
    }
  return out;
}

}  // namespace

Result<std::optional<HostsFile>> load_hosts_toml(const Surroundings& around,
                                                 const std::string& host) {
  std::vector<std::string> names = folder_names(host);
  names.push_back("_default");
  for (const std::string& folder : containerd_folders(around))
    for (const std::string& name : names) {
      const std::string path = folder + "/" + name + "/hosts.toml";
      std::optional<std::string> text = TRY(read_if_exists(path));
      if (text) return std::optional<HostsFile>(TRY(parse_hosts(*text, path)));
    }
  return std::optional<HostsFile>();
}

Result<TlsFiles> load_certs_d(const Surroundings& around, const std::string& host) {
  std::vector<std::string> folders;
  if (std::string config = around.config_home(); !config.empty())
    folders = {config + "/containers/certs.d", config + "/docker/certs.d"};
  folders.push_back(around.etc + "/containers/certs.d");
  folders.push_back(around.etc + "/docker/certs.d");
  for (const std::string& folder : containerd_folders(around)) folders.push_back(folder);
  for (const std::string& folder : folders) {
    const std::string path = folder + "/" + host;
    const std::vector<std::string> names = file_names(path);
    const auto has = [&](const std::string& name) {
      return std::binary_search(names.begin(), names.end(), name);
    };
    TlsFiles out;
    for (const std::string& name : names) {
      if (name.ends_with(".crt")) out.ca.push_back(path + "/" + name);
      const bool cert = name.ends_with(".cert"), key = name.ends_with(".key");
      if (!cert && !key) continue;
      const std::string stem = name.substr(0, name.rfind('.'));
      if (!has(stem + (cert ? ".key" : ".cert")))
        return Error(ErrorKind::kInvalid, path + "/" + name + ": the file " + stem +
                                              (cert ? ".key" : ".cert") + " is missing beside it")
            .hint("a client certificate is a pair NAME.cert and NAME.key; an authority is NAME.crt");
      if (cert) out.clients.emplace_back(path + "/" + name, path + "/" + stem + ".key");
    }
    if (!out.empty()) return out;
  }
  return TlsFiles();
}

Result<DaemonJson> load_daemon_json(const Surroundings& around) {
  std::vector<std::string> paths;
  if (std::string config = around.config_home(); !config.empty())
    paths.push_back(config + "/docker/daemon.json");
  paths.push_back(around.etc + "/docker/daemon.json");
  for (const std::string& path : paths) {
    std::optional<std::string> text = TRY(read_if_exists(path));
    if (!text) continue;
    DaemonJson out;
    out.file = path;
    const oci::Json json = TRY(oci::Json::parse(*text, path));
    if (!json.is_object()) return Error(ErrorKind::kInvalid, path + ": not a JSON object");
    oci::JsonReader in(json, path);
    TRY(in.get("registry-mirrors", out.mirrors));
    TRY(in.get("insecure-registries", out.insecure));
    TRY(in.get("max-concurrent-downloads", out.max_downloads));
    TRY(in.get("max-concurrent-uploads", out.max_uploads));
    TRY(in.get("max-download-attempts", out.max_attempts));
    return out;
  }
  return DaemonJson();
}

bool is_listed(const std::vector<std::string>& list, const std::string& host) {
  const std::string bare = net::host_without_port(host);
  return std::any_of(list.begin(), list.end(), [&](const std::string& entry) {
    return entry == host || entry == bare || net::in_network(bare, entry);
  });
}

bool is_loopback_host(const std::string& host) {
  const std::string bare = net::host_without_port(host);
  return bare == "localhost" || net::in_network(bare, "127.0.0.0/8") || net::in_network(bare, "::1/128");
}

}  // namespace kasane::registry
