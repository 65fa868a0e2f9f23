// Which servers a reference leads to, in which order, and how they are spoken to. Reference 2.5.
// What decides: registries.conf when one of its prefixes matches, else containerd's hosts.toml,
// else docker's daemon.json. TLS files come from hosts.toml or the certs.d folders.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "oci/reference.h"
#include "registry/config_files.h"
#include "registry/surroundings.h"

namespace kasane::registry {

// One server and the repository as it is called there. Value type.
struct Endpoint {
  std::string host;             // host[:port] that is connected to
  std::string credential_host;  // what credentials are stored under: "docker.io" for Docker Hub
  std::string scheme = "https";
  bool plain_http = false;   // may be spoken to in http when it does not speak https
  bool skip_verify = false;  // its certificate need not be valid
  std::string base_path = "/v2";
  std::string repository;
  std::string name_space;    // sent as ?ns= to mirrors of containerd's kind; "" = not sent
  bool mirror = false;
  bool resolve = true;       // may say what a tag means
  bool pull = true;
  TlsFiles tls;
  std::vector<std::string> headers;  // "Name: value"
  int64_t dial_timeout_ms = 0;       // 0: the default
  std::string from;                  // which file says so; "" = nobody
  std::string origin() const { return scheme + "://" + host; }
};

struct TransferLimits {
  int downloads = 4, uploads = 4;  // blobs at once
  int attempts = 5;                // of one request, in all
};

struct Route {
  oci::Reference reference;
  std::vector<Endpoint> pull;  // mirrors first, the registry itself last (unless it cannot pull)
  std::vector<Endpoint> push;  // one, or none
  std::string blocked_by;      // file; "" = not blocked
  TransferLimits limits;
};

// Reads the configuration. kInvalid for files that cannot be understood, naming the place.
Result<Route> find_route(const Surroundings& around, const oci::Reference& reference);

}  // namespace kasane::registry
