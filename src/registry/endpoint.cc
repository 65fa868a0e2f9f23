#include "registry/endpoint.h"

#include <algorithm>

#include "net/url.h"

namespace kasane::registry {
namespace {

constexpr std::string_view kHub = "docker.io";
constexpr std::string_view kHubHost = "registry-1.docker.io";

// "host/a/b": the names of the hub are docker.io, but its API is elsewhere.
void place(Endpoint& endpoint, const std::string& name) {
  const size_t slash = name.find('/');
  endpoint.credential_host = name.substr(0, slash);
  endpoint.repository = slash == std::string::npos ? "" : name.substr(slash + 1);
  endpoint.host = endpoint.credential_host == kHub ? kHubHost : endpoint.credential_host;
}

class Finder {
 public:
  Finder(const Surroundings& around, const oci::Reference& reference)
      : around_(around), name_(reference.name()) {
    route_.reference = reference;
  }

  Result<Route> run() {
    daemon_ = TRY(load_daemon_json(around_));
    set_limits();
    const RegistriesConf conf = TRY(load_registries_conf(around_));
    if (const ConfiguredRegistry* entry = conf.match(name_)) {
      TRY(by_registries_conf(*entry));
    } else if (std::optional<HostsFile> hosts =
                   TRY(load_hosts_toml(around_, route_.reference.domain))) {
      TRY(by_hosts_toml(*hosts));
    } else {
      TRY(by_daemon_json());
    }
    return std::move(route_);
  }

 private:
  void set_limits() {
    const auto apply = [](int64_t given, int& target, int64_t most) {
      if (given > 0) target = static_cast<int>(std::min(given, most));
    };
    apply(daemon_.max_downloads, route_.limits.downloads, 64);
    apply(daemon_.max_uploads, route_.limits.uploads, 64);
    apply(daemon_.max_attempts, route_.limits.attempts, 20);
  }

  // Fills what follows from the host alone.
  Result<Endpoint> endpoint(const std::string& name, bool insecure, std::string from) {
    Endpoint out;
    place(out, name);
    out.from = std::move(from);
    TRY(add_trust(out, insecure));
    return out;
  }
  Result<void> add_trust(Endpoint& out, bool insecure) {
    out.plain_http = out.skip_verify =
        insecure || is_loopback_host(out.host) || is_listed(daemon_.insecure, out.host) ||
        is_listed(around_.insecure, out.host);
    if (out.tls.empty()) out.tls = TRY(load_certs_d(around_, out.credential_host));
    return {};
  }

  Result<void> by_registries_conf(const ConfiguredRegistry& entry) {
    if (entry.blocked) route_.blocked_by = entry.file;
    const bool by_digest = !route_.reference.digest.empty();
    for (const ConfiguredMirror& mirror : entry.mirrors) {
      if (mirror.use == ConfiguredMirror::Use::kDigestOnly && !by_digest) continue;
      if (mirror.use == ConfiguredMirror::Use::kTagOnly && by_digest) continue;
      Endpoint out = TRY(endpoint(rewrite_name(entry, mirror.location, name_), mirror.insecure,
                                  entry.file));
      out.mirror = true;
      route_.pull.push_back(std::move(out));
    }
    Endpoint itself =
        TRY(endpoint(rewrite_name(entry, entry.location, name_), entry.insecure, entry.file));
    route_.push.push_back(itself);
    route_.pull.push_back(std::move(itself));
    return {};
  }

  Result<Endpoint> from_entry(const HostEntry& entry, const std::string& file, bool mirror) {
    Endpoint out;
    place(out, name_);
    if (!entry.url.empty()) {
      std::optional<net::UrlParts> url = net::split_url(entry.url);
      if (!url) return Error(ErrorKind::kInvalid, file + ": not an http or https URL: " + entry.url);
      const std::string host = url->default_port ? url->host : url->host + ":" + url->port;
      if (host != out.host) out.host = out.credential_host = host;
      if (host == kHubHost) out.credential_host = kHub;
      out.scheme = url->scheme;
      std::string path(url->path);
      while (path.ends_with('/')) path.pop_back();
      const bool whole = entry.override_path || path.ends_with("/v2");
      out.base_path = whole ? path : path + "/v2";
    }
    out.from = file;
    out.tls = entry.tls;
    out.headers = entry.headers;
    out.dial_timeout_ms = entry.dial_timeout_ms;
    out.pull = entry.pull;
    out.resolve = entry.resolve;
    out.mirror = mirror;
    if (mirror) out.name_space = route_.reference.domain;
    TRY(add_trust(out, false));
    if (out.scheme == "http") out.plain_http = true;
    out.skip_verify = out.skip_verify || entry.skip_verify;
    return out;
  }

  Result<void> by_hosts_toml(const HostsFile& hosts) {
    const auto add = [&](const HostEntry& entry, bool mirror) -> Result<void> {
      Endpoint out = TRY(from_entry(entry, hosts.file, mirror));
      if (entry.push && route_.push.empty()) route_.push.push_back(out);
      if (entry.pull || entry.resolve) route_.pull.push_back(std::move(out));
      return {};
    };
    for (const HostEntry& entry : hosts.hosts) TRY(add(entry, true));
    return add(hosts.server, false);
  }

  Result<void> by_daemon_json() {
    if (route_.reference.domain == kHub)
      for (const std::string& mirror : daemon_.mirrors) {
        HostEntry entry;
        entry.url = mirror.find("://") == std::string::npos ? "https://" + mirror : mirror;
        Endpoint out = TRY(from_entry(entry, daemon_.file, true));
        out.name_space.clear();
        route_.pull.push_back(std::move(out));
      }
    Endpoint itself = TRY(endpoint(name_, false, ""));
    if (is_listed(daemon_.insecure, itself.host)) itself.from = daemon_.file;
    route_.push.push_back(itself);
    route_.pull.push_back(std::move(itself));
    return {};
  }

  const Surroundings& around_;
  std::string name_;
  DaemonJson daemon_;
  Route route_;
};

}  // namespace

Result<Route> find_route(const Surroundings& around, const oci::Reference& reference) {
  return Finder(around, reference).run();
}

}  // namespace kasane::registry
