// login: are these credentials good? Reference 1.12, 2.4.
#pragma once

#include <stop_token>
#include <string>

#include "base/result.h"
#include "registry/credentials.h"
#include "registry/surroundings.h"

namespace kasane::registry {

// "localhost:5000" of what a user types: a host, a URL, with or without a path; "" means
// docker.io, and so do its old names. kInvalid.
Result<std::string> registry_host(const std::string& typed);

// Asks the registry. What is to be stored: the credential, or the identity token that the token
// server gave for it. kPermission: "unauthorized: incorrect username or password".
Result<Credential> check_login(const Surroundings& around, const std::string& host,
                               const Credential& credential, const std::stop_token& stop);

}  // namespace kasane::registry
