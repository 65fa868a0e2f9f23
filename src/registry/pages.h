// Lists that registries give in pages.
#pragma once

#include <optional>
#include <string>

#include "registry/client.h"

namespace kasane::registry {

// How an answer says it: Link: <URL>; rel="next". The path of the next request; nullopt: this was
// the last page. `folder`: what a relative URL without a slash is below ("tags/"). kPermission
// when it leads to another server (R11).
Result<std::optional<std::string>> next_page(Client& client, const ApiAnswer& answer, const std::string& folder);

}  // namespace kasane::registry
