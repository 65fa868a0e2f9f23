#include "net/proxy.h"

#include "base/text.h"
#include "net/address.h"
#include "net/http.h"

namespace kasane::net {
namespace {

std::string variable(const Environment& environment, const std::string& lower, const std::string& upper) {
  for (const std::string* name : {&lower, &upper})
    if (const char* value = name->empty() ? nullptr : environment(name->c_str()); value && *value) return value;
  return "";
}

bool is_exempt_by(const UrlParts& url, std::string entry) {
  if (entry == "*") return true;
  if (in_network(url.host, entry)) return true;
  const size_t colon = entry.rfind(':');
  const bool bare_ipv6 = colon != std::string::npos && entry.find(':') != colon && entry[0] != '[';
  if (colon != std::string::npos && !bare_ipv6 && !entry.ends_with(']')) {
    if (entry.substr(colon + 1) != url.port) return false;
    entry.resize(colon);
  }
  if (entry.starts_with("*.")) entry.erase(0, 1);
  if (entry.empty()) return false;
  if (entry[0] == '.') return url.host.size() > entry.size() && url.host.ends_with(entry);
  return url.host == entry || is_same_address(url.host, entry) || url.host.ends_with("." + entry);
}

}  // namespace

bool is_exempt(const UrlParts& url, std::string_view no_proxy) {
  for (size_t begin = 0; begin < no_proxy.size();) {
    const size_t end = std::min(no_proxy.find_first_of(", \t", begin), no_proxy.size());
    if (end > begin && is_exempt_by(url, ascii_lower(no_proxy.substr(begin, end - begin)))) return true;
    begin = end + 1;
  }
  return false;
}

std::string proxy_for(const UrlParts& url, const Environment& environment) {
  if (is_loopback(url)) return "";
  const bool cgi = environment("REQUEST_METHOD") != nullptr;
  std::string proxy = url.scheme == "https" ? variable(environment, "https_proxy", "HTTPS_PROXY")
                                            : variable(environment, "http_proxy", cgi ? "" : "HTTP_PROXY");
  if (proxy.empty()) proxy = variable(environment, "all_proxy", "ALL_PROXY");
  if (proxy.empty() || is_exempt(url, variable(environment, "no_proxy", "NO_PROXY"))) return "";
  return proxy;
}

std::string redact_proxy(std::string_view proxy) {
  if (proxy.find("://") != proxy.npos) return redact_url(proxy);
  const size_t at = proxy.rfind('@');
  return at == proxy.npos ? std::string(proxy) : "xxxxx@" + std::string(proxy.substr(at + 1));
}

}  // namespace kasane::net
