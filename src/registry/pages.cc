#include "registry/pages.h"

#include "net/url.h"

namespace kasane::registry {

Result<std::optional<std::string>> next_page(Client& client, const ApiAnswer& answer, const std::string& folder) {
  const std::string link = answer.header("link");
  const size_t end = link.find('>');
  if (!link.starts_with('<') || end == std::string::npos || link.find("rel=\"next\"") == std::string::npos)
    return std::optional<std::string>();
  const std::string target = link.substr(1, end - 1);
  const std::string url = target.starts_with('/') ? client.endpoint().origin() + target : target;
  if (url.find("://") == std::string::npos) {
    const size_t slash = target.rfind('/');
    return std::optional<std::string>(folder + target.substr(slash == std::string::npos ? 0 : slash + 1));
  }
  const auto own = net::split_url(client.endpoint().origin()), there = net::split_url(url);
  if (!own || !there || !net::same_origin(*own, *there))
    return Error(ErrorKind::kPermission, "the list continues on another server, which is not followed");
  return std::optional<std::string>(url);
}

}  // namespace kasane::registry
