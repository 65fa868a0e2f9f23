// User names, passwords and tokens: where they are looked for (reference 2.4 points 4-6) and how
// login and logout store them. Nothing here ever reaches an argv, a log or an error message.
#pragma once

#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/result.h"
#include "registry/surroundings.h"

namespace kasane::registry {

struct Credential {
  std::string username, password;
  std::string identity_token;  // a refresh token, in place of the password
  std::string registry_token;  // sent as it is, as a Bearer token
  std::string source;          // "/root/.docker/config.json", "docker-credential-pass"
};

struct CredentialLookup {
  std::optional<Credential> credential;  // none: the registry is asked anonymously
  // What went wrong on the way (a helper that is missing or hangs, a broken entry): told to the
  // user only when the registry refuses.
  std::vector<std::string> problems;
};

// Order: DOCKER_AUTH_CONFIG; REGISTRY_AUTH_FILE; docker's config.json (credHelpers, credsStore,
// auths); containers' auth.json below XDG_RUNTIME_DIR and the configuration folder; the
// credential-helpers of registries.conf. Keys may be host/path, the longest first. kInvalid for
// files that are not JSON.
Result<CredentialLookup> find_credential(const Surroundings& around, const std::string& host,
                                         const std::string& repository, std::stop_token stop);

// The key of docker's files: the historical URL for Docker Hub, else the host.
std::string storage_key(const std::string& host);
// $DOCKER_CONFIG or ~/.docker, with /config.json. kNotFound without a home.
Result<std::string> docker_config_path(const Surroundings& around);

struct StoredAt {
  std::string file;
  std::string helper;  // "" = in the file itself, in plain text
};
// login: into the helper that the configuration names, else the file (2.1.12).
Result<StoredAt> store_credential(const Surroundings& around, const std::string& host,
                                  const Credential& credential, std::stop_token stop);
// logout: from both; nothing stored is fine.
Result<void> erase_credential(const Surroundings& around, const std::string& host,
                              std::stop_token stop);

}  // namespace kasane::registry
