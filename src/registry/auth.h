// Who we are to one endpoint: Basic, or Bearer tokens of its token server. Reference 2.4, R8-R13.
//
// Rules: credentials go to the endpoint's own origin and to a token server over https of the
// same site (or listed in KASANE_TOKEN_REALMS) and nowhere else; over http only when the endpoint
// is itself spoken to in http, which its configuration must allow; never after a redirect.
#pragma once

#include <chrono>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "base/result.h"
#include "net/http_exchange.h"
#include "registry/challenge.h"
#include "registry/credentials.h"
#include "registry/endpoint.h"

namespace kasane::registry {

// "repository:NAME:pull" texts.
using Scopes = std::set<std::string>;
// One entry per resource, with the actions of all.
Scopes merge_scopes(const Scopes& a, const Scopes& b);

// May credentials of a registry go to this token server?
struct RealmVerdict {
  std::string refused;      // why the server is not asked at all; "" = it is
  bool credentials = false;  // they may be sent
};
RealmVerdict judge_realm(const Endpoint& endpoint, const std::string& realm,
                         const std::string& trusted_realms);

// Thread-safe: one token request at a time.
class Authenticator {
 public:
  struct Options {
    Surroundings around;
    net::HttpConnections* connections = nullptr;
    const net::TlsSetup* tls = nullptr;  // of the endpoint; used for its own host only
    std::optional<Credential> credential;  // given (login); none: looked for when asked
    bool offline_token = false;            // login: ask for a refresh token
  };
  Authenticator(Endpoint endpoint, Options options)
      : endpoint_(std::move(endpoint)), options_(std::move(options)) {}

  // What the endpoint turned out to speak.
  void set_scheme(const std::string& scheme);
  // "Authorization: ..." for a request that needs these scopes, from what is known; "" = none.
  std::string header(const Scopes& scopes);
  // After a 401 that answered a request with `sent` as its header: gets what the challenge
  // wants. False: there is nothing better to send. Errors: the token server's.
  Result<bool> answer(const std::vector<std::string>& challenges, const Scopes& scopes,
                      const std::string& sent, const std::stop_token& stop);

  const std::vector<std::string>& problems() const { return problems_; }
  bool has_credential() const { return credential_.has_value(); }
  std::string refresh_token() const { return refresh_token_; }  // of offline_token
  const Endpoint& endpoint() const { return endpoint_; }

 private:
  using Clock = std::chrono::steady_clock;
  struct Token {
    std::string text;
    Clock::time_point expires;
  };
  Result<void> look_up(const std::stop_token& stop);
  Result<bool> bearer(const Challenge& challenge, const Scopes& scopes, const std::stop_token& stop);
  Result<Token> fetch(const Challenge& challenge, const Scopes& scopes, bool with_credentials,
                      const std::stop_token& stop);
  Result<std::string> ask(const net::HttpExchange& exchange, int& status,
                          const std::stop_token& stop);
  Result<Token> read_token(const std::string& body);
  void problem(std::string text);
  std::string basic() const;

  Endpoint endpoint_;
  Options options_;
  std::mutex mutex_;
  bool looked_up_ = false;
  std::optional<Credential> credential_;
  std::vector<std::string> problems_;
  bool use_basic_ = false;
  std::map<Scopes, Token> tokens_;
  std::string refresh_token_;
};

}  // namespace kasane::registry
