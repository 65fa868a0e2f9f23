// docker-credential-NAME programs (R25): the name is checked, input goes through a pipe, output
// is capped, and a helper that hangs is killed after 30 seconds.
#pragma once

#include <optional>
#include <stop_token>
#include <string>

#include "base/result.h"
#include "registry/credentials.h"

namespace kasane::registry {

// nullopt: the helper has nothing for this key. Errors never hold what the helper printed on
// standard output.
Result<std::optional<Credential>> helper_get(const std::string& helper, const std::string& key,
                                             std::stop_token stop);
Result<void> helper_store(const std::string& helper, const std::string& key,
                          const Credential& credential, std::stop_token stop);
Result<void> helper_erase(const std::string& helper, const std::string& key, std::stop_token stop);

}  // namespace kasane::registry
