// WWW-Authenticate (RFC 9110 11.6.1; reference R12). Pure.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace kasane::registry {

struct Challenge {
  std::string scheme;  // lower case
  std::map<std::string, std::string> parameters;  // names in lower case, values unquoted
  std::string parameter(const std::string& name) const;  // "" when absent
};

// All challenges of all headers, in order. kInvalid: not of the grammar, or one challenge has a
// parameter twice (two programs would see two meanings).
Result<std::vector<Challenge>> parse_challenges(const std::vector<std::string>& headers);

// The best that is understood: bearer with a realm, else basic; nullptr.
const Challenge* choose_challenge(const std::vector<Challenge>& challenges);

}  // namespace kasane::registry
