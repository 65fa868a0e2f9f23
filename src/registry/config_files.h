// What registries.conf (containers), hosts.toml (containerd) and daemon.json (docker) say about
// registries. Reference 2.5. Only reading; endpoint.h decides what applies.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "registry/surroundings.h"

namespace kasane::registry {

// ---- registries.conf, version 2, with drop-ins

struct ConfiguredMirror {
  enum class Use { kAll, kDigestOnly, kTagOnly };
  std::string location;  // host[:port][/path]
  bool insecure = false;
  Use use = Use::kAll;
};

struct ConfiguredRegistry {
  std::string prefix;    // host[:port][/path] or "*.domain"
  std::string location;  // what replaces the prefix; "" = nothing is replaced
  bool insecure = false, blocked = false;
  std::vector<ConfiguredMirror> mirrors;
  std::string file;
};

struct RegistriesConf {
  std::vector<ConfiguredRegistry> registries;
  std::vector<std::string> credential_helpers;
  std::vector<std::string> files;  // that were read
  // The entry with the longest prefix of "host/repository"; nullptr.
  const ConfiguredRegistry* match(std::string_view name) const;
};

// CONTAINERS_REGISTRIES_CONF, else the user's file, else /etc's; then the drop-ins of both
// registries.conf.d folders. A later [[registry]] of the same prefix replaces an earlier one.
Result<RegistriesConf> load_registries_conf(const Surroundings& around);

// "host/a/b" where the entry matches, with the location in place of the prefix.
std::string rewrite_name(const ConfiguredRegistry& entry, const std::string& location,
                         std::string_view name);

// ---- hosts.toml and certs.d

struct TlsFiles {
  std::vector<std::string> ca;                                // in addition to the system's
  std::vector<std::pair<std::string, std::string>> clients;   // certificate, key
  bool empty() const { return ca.empty() && clients.empty(); }
};

struct HostEntry {
  std::string url;  // http(s)://host[:port][/path]
  bool pull = true, resolve = true, push = true;
  TlsFiles tls;
  bool skip_verify = false;
  std::vector<std::string> headers;  // "Name: value"
  bool override_path = false;        // the URL's path stands in place of "/v2"
  int64_t dial_timeout_ms = 0;
};

struct HostsFile {
  std::string file;
  HostEntry server;              // url "" = the registry itself
  std::vector<HostEntry> hosts;  // mirrors, in the order of the file
};

// The hosts.toml of the host, else that of "_default"; nullopt when there is none.
Result<std::optional<HostsFile>> load_hosts_toml(const Surroundings& around,
                                                 const std::string& host);

// *.crt and X.cert + X.key of the first certs.d folder that knows the host: the user's
// containers and docker folders, then /etc's, then containerd's. kInvalid for a lone half.
Result<TlsFiles> load_certs_d(const Surroundings& around, const std::string& host);

// ---- daemon.json

struct DaemonJson {
  std::string file;  // "" = there is none
  std::vector<std::string> mirrors;   // of docker.io
  std::vector<std::string> insecure;  // host[:port] or CIDR
  int64_t max_downloads = 0, max_uploads = 0, max_attempts = 0;  // 0: not given
};

// The user's (rootless docker) first, then /etc's: the first that exists.
Result<DaemonJson> load_daemon_json(const Surroundings& around);

// Is "host[:port]" one of the list? An address also by CIDR.
bool is_listed(const std::vector<std::string>& list, const std::string& host);
// localhost, 127.0.0.0/8 and ::1, with or without a port.
bool is_loopback_host(const std::string& host);

}  // namespace kasane::registry
