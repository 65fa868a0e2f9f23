#include "registry/auth.h"

#include <algorithm>

#include "base/base64.h"
#include "base/text.h"
#include "net/url.h"
#include "oci/json.h"

namespace kasane::registry {
namespace {

constexpr uint64_t kMaxTokenBytes = 1u << 20;  // R2
constexpr int64_t kMinSeconds = 60, kMaxSeconds = 86400;
constexpr int kMaxRedirects = 3;

// The part of a host that one owner has: the last two labels, three below "co.uk" and the like.
std::string site_of(const std::string& host) {
  static const std::set<std::string> kSecondLevel = {"co", "com", "org", "net", "ac", "gov", "edu"};
  std::vector<size_t> dots;
  for (size_t i = 0; i < host.size(); ++i)
    if (host[i] == '.') dots.push_back(i);
  size_t labels = 2;
  if (dots.size() >= 2 && host.size() - dots.back() == 3 &&
      kSecondLevel.contains(host.substr(dots[dots.size() - 2] + 1,
                                        dots.back() - dots[dots.size() - 2] - 1)))
    labels = 3;
  if (dots.size() < labels) return host;
  return host.substr(dots[dots.size() - labels] + 1);
}

bool is_address(const std::string& host) {
  return host.starts_with('[') || host.find_first_not_of("0123456789.") == std::string::npos;
}

bool is_private_host(const std::string& host) {
  static const std::vector<std::string> kPrivate = {
      "0.0.0.0/8",   "10.0.0.0/8",     "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
      "172.16.0.0/12", "192.168.0.0/16", "::/127",        "fc00::/7",    "fe80::/10"};
  // "2130706433", "0x7f.1" and "127.1" are addresses to a resolver, and nobody's honest names.
  const std::string last = host.substr(host.rfind('.') + 1);
  const bool odd = !host.starts_with('[') && !last.empty() && last[0] >= '0' && last[0] <= '9' &&
                   std::count(host.begin(), host.end(), '.') != 3;
  return host == "localhost" || odd || (is_address(host) && is_listed(kPrivate, host));
}

bool contains_word(const std::string& list, const std::string& word) {
  for (size_t begin = 0; begin <= list.size();) {
    const size_t end = std::min(list.find(',', begin), list.size());
    if (list.substr(begin, end - begin) == word) return true;
    begin = end + 1;
  }
  return false;
}

std::string join(const Scopes& scopes, std::string_view between) {
  std::string out;
  for (const std::string& scope : scopes) {
    if (!out.empty()) out += between;
    out += percent_encode(scope);
  }
  return out;
}

// Scopes of a challenge are separated by spaces.
Scopes split_scopes(const std::string& text) {
  Scopes out;
  for (size_t begin = 0; begin < text.size() && out.size() < 64;) {
    const size_t end = std::min(text.find(' ', begin), text.size());
    if (end > begin) out.insert(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return out;
}

}  // namespace

Scopes merge_scopes(const Scopes& a, const Scopes& b) {
  std::map<std::string, std::set<std::string>> actions;
  for (const Scopes* scopes : {&a, &b})
    for (const std::string& scope : *scopes) {
      const size_t colon = scope.rfind(':');
      if (colon == std::string::npos) continue;
      std::set<std::string>& target = actions[scope.substr(0, colon)];
      for (size_t begin = colon + 1; begin <= scope.size();) {
        const size_t end = std::min(scope.find(',', begin), scope.size());
        if (end > begin) target.insert(scope.substr(begin, end - begin));
        begin = end + 1;
      }
    }
  Scopes out;
  for (const auto& [resource, words] : actions) {
    std::string text;
    for (const std::string& word : words) text += (text.empty() ? "" : ",") + word;
    out.insert(resource + ":" + text);
  }
  return out;
}

RealmVerdict judge_realm(const Endpoint& endpoint, const std::string& realm,
                         const std::string& trusted_realms) {
  const std::optional<net::UrlParts> url = net::split_url(realm);
  const std::optional<net::UrlParts> own = net::split_url(endpoint.origin());
  if (!url || !own || !url->userinfo.empty())
    return {"the registry's token server is not an http or https URL", false};
  const std::string shown = net::redact_url(realm.substr(0, 200));
  const bool same_host = url->host == own->host;
  const bool open = endpoint.scheme == "http";
  if (url->scheme == "http" && !(open && (same_host || is_private_host(url->host))))
    return {"the registry wants a token from " + shown + ", which is not https", false};
  const bool inside = is_private_host(own->host) || endpoint.plain_http;
  if (is_private_host(url->host) && !same_host && !inside)
    return {"the registry wants a token from the private address " + shown, false};
  const bool same_site =
      same_host || (!is_address(url->host) && !is_address(own->host) &&
                    url->host.find('.') != std::string::npos && site_of(url->host) == site_of(own->host));
  // Different addresses of this machine or network, with the registry there as well.
  const bool neighbours = is_loopback_host(own->host) && is_loopback_host(url->host);
  return {"", same_site || neighbours || contains_word(trusted_realms, url->host)};
}

void Authenticator::problem(std::string text) {
  if (std::find(problems_.begin(), problems_.end(), text) == problems_.end())
    problems_.push_back(std::move(text));
}

std::string Authenticator::basic() const {
  return "Authorization: Basic " + base64(credential_->username + ":" + credential_->password);
}

void Authenticator::set_scheme(const std::string& scheme) {
  std::lock_guard lock(mutex_);
  endpoint_.scheme = scheme;
}

std::string Authenticator::header(const Scopes& scopes) {
  std::lock_guard lock(mutex_);
  if (use_basic_) return basic();
  if (credential_ && !credential_->registry_token.empty())
    return "Authorization: Bearer " + credential_->registry_token;
  auto it = tokens_.find(scopes);
  if (it == tokens_.end() || Clock::now() >= it->second.expires) return "";
  return "Authorization: Bearer " + it->second.text;
}

Result<void> Authenticator::look_up(const std::stop_token& stop) {
  if (looked_up_) return {};
  looked_up_ = true;
  if (options_.credential) {
    credential_ = options_.credential;
    return {};
  }
  CredentialLookup found = TRY(find_credential(options_.around, endpoint_.credential_host,
                                               endpoint_.repository, stop));
  credential_ = std::move(found.credential);
  for (std::string& text : found.problems) problem(std::move(text));
  return {};
}

Result<bool> Authenticator::answer(const std::vector<std::string>& challenges, const Scopes& scopes,
                                   const std::string& sent, const std::stop_token& stop) {
  // Another thread may have answered the same challenge meanwhile.
  if (const std::string known = header(scopes); !known.empty() && known != sent) return true;
  std::lock_guard lock(mutex_);
  if (auto it = tokens_.find(scopes);
      it != tokens_.end() && "Authorization: Bearer " + it->second.text != sent &&
      Clock::now() < it->second.expires)
    return true;
  TRY(look_up(stop));
  if (credential_ && !credential_->registry_token.empty()) return sent.empty();
  const std::vector<Challenge> parsed = TRY(parse_challenges(challenges));
  const Challenge* challenge = choose_challenge(parsed);
  if (!challenge) {
    problem(parsed.empty() ? "the registry refuses without saying what it wants (no WWW-Authenticate)"
                           : "the registry wants \"" + parsed[0].scheme.substr(0, 40) +
                                 "\" authentication, which kasane does not speak");
    return false;
  }
  if (challenge->scheme == "bearer") return bearer(*challenge, scopes, stop);
  if (!credential_ || credential_->username.empty()) return false;
  use_basic_ = true;
  return sent != basic();
}

Result<bool> Authenticator::bearer(const Challenge& challenge, const Scopes& scopes,
                                   const std::stop_token& stop) {
  const RealmVerdict verdict = judge_realm(endpoint_, challenge.parameter("realm"),
                                           options_.around.env("KASANE_TOKEN_REALMS"));
  if (!verdict.refused.empty()) return Error(ErrorKind::kPermission, verdict.refused);
  if (credential_ && !verdict.credentials)
    problem("no credentials were sent to the token server " +
            net::url_host(challenge.parameter("realm")) +
            ", which belongs to another site; KASANE_TOKEN_REALMS=HOST,... allows it");
  const Scopes wanted = merge_scopes(scopes, split_scopes(challenge.parameter("scope")));
  Token token = TRY(fetch(challenge, wanted, credential_ && verdict.credentials, stop));
  tokens_[scopes] = std::move(token);
  return true;
}

// Redirects of a token server are followed only inside its own origin: whatever it redirects to
// would get the password.
Result<std::string> Authenticator::ask(const net::HttpExchange& first, int& status,
                                       const std::stop_token& stop) {
  net::HttpExchange exchange = first;
  for (int redirects = 0;; ++redirects) {
    StringSink body;
    net::HttpAnswer answer = TRY(net::http_exchange(options_.connections, exchange, body, stop));
    status = answer.response.status;
    if (answer.redirect_url.empty()) return std::move(body.text);
    const auto from = net::split_url(exchange.url), to = net::split_url(answer.redirect_url);
    if (!from || !to || !net::same_origin(*from, *to) || redirects >= kMaxRedirects)
      return Error(ErrorKind::kPermission, "the token server redirects to " +
                                               net::redact_url(answer.redirect_url.substr(0, 200)) +
                                               ", which is not followed");
    exchange.url = answer.redirect_url;
  }
}

Result<Authenticator::Token> Authenticator::fetch(const Challenge& challenge, const Scopes& scopes,
                                                  bool with_credentials,
                                                  const std::stop_token& stop) {
  const std::string realm = challenge.parameter("realm"), service = challenge.parameter("service");
  const std::string frame = "ask the token server " + net::url_host(realm);
  net::HttpExchange exchange;
  exchange.max_body_bytes = kMaxTokenBytes;
  exchange.limits = {.connect_ms = 10'000, .header_ms = 30'000, .header_bytes = 64u << 10};
  const auto own = net::split_url(endpoint_.origin()), there = net::split_url(realm);
  if (own && there && own->host == there->host) exchange.tls = options_.tls;
  int status = 0;
  if (with_credentials && !credential_->identity_token.empty()) {
    std::string form = "grant_type=refresh_token&service=" + percent_encode(service) +
                       "&client_id=kasane&scope=" + join(scopes, "%20") +
                       "&refresh_token=" + percent_encode(credential_->identity_token);
    exchange.url = realm;
    exchange.method = "POST";
    exchange.body = &form;
    exchange.headers = {"Content-Type: application/x-www-form-urlencoded"};
    const std::string body = TRY_CONTEXT(ask(exchange, status, stop), frame);
    if (status == 200) return TRY_CONTEXT(read_token(body), frame);
    if (status != 404 && status != 405)
      return Error(ErrorKind::kPermission, "unauthorized: the stored identity token was refused (status " +
                                               std::to_string(status) + ")")
          .hint("log in again: kasane login " + endpoint_.credential_host)
          .context(frame);
    exchange.method = "GET";
    exchange.body = nullptr;
    exchange.headers.clear();
  }
  std::string url = realm + (realm.find('?') == std::string::npos ? "?" : "&");
  if (!service.empty()) url += "service=" + percent_encode(service) + "&";
  for (const std::string& scope : scopes) url += "scope=" + percent_encode(scope) + "&";
  if (with_credentials && !credential_->username.empty()) {
    url += "account=" + percent_encode(credential_->username) + "&";
    if (options_.offline_token) url += "offline_token=true&client_id=kasane&";
    exchange.headers = {basic()};
  }
  url.pop_back();
  exchange.url = url;
  const std::string body = TRY_CONTEXT(ask(exchange, status, stop), frame);
  if (status == 200) return TRY_CONTEXT(read_token(body), frame);
  const bool denied = status == 401 || status == 403;
  return Error(denied ? ErrorKind::kPermission : ErrorKind::kNetwork,
               denied && with_credentials ? "unauthorized: incorrect username or password"
                                          : "unauthorized: the token server answered with status " +
                                                std::to_string(status))
      .context(frame);
}

Result<Authenticator::Token> Authenticator::read_token(const std::string& body) {
  // The parser's message would not quote the document, but it is not passed on anyway.
  const Result<oci::Json> json = oci::Json::parse(body, "answer of the token server");
  if (!json || !json->is_object())
    return Error(ErrorKind::kInvalid, "the token server did not answer with JSON");
  const auto text = [&](std::string_view name) -> std::string {
    const oci::Json* value = json->find(name);
    return value && value->is_string() ? value->text : "";
  };
  Token token;
  token.text = text("token").empty() ? text("access_token") : text("token");
  const bool clean = std::all_of(token.text.begin(), token.text.end(),
                                 [](unsigned char c) { return c > 0x20 && c < 0x7f; });
  if (token.text.empty() || !clean)
    return Error(ErrorKind::kInvalid, "the token server's answer has no usable token");
  if (const std::string refresh = text("refresh_token"); !refresh.empty()) refresh_token_ = refresh;
  int64_t seconds = kMinSeconds;
  const oci::JsonReader in(*json, "answer of the token server");
  (void)in.get("expires_in", seconds).has_value();
  seconds = std::clamp(seconds, kMinSeconds, kMaxSeconds);
  token.expires = Clock::now() + std::chrono::seconds(seconds * 9 / 10);
  return token;
}

}  // namespace kasane::registry
