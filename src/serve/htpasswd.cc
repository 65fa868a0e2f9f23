#include "serve/htpasswd.h"

#include <crypt.h>
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/base64.h"
#include "base/hash.h"
#include "base/random.h"
#include "serve/layout.h"

namespace kasane::serve {
namespace {

constexpr size_t kMaxRemembered = 1024;
constexpr size_t kMaxPassword = 1024;

// "$2y$10$" + 53 characters.
bool is_bcrypt(std::string_view hash) {
  constexpr std::string_view kAlphabet =
      "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  if (hash.size() != 60 || !(hash.starts_with("$2y$") || hash.starts_with("$2b$") ||
                             hash.starts_with("$2a$")))
    return false;
  int cost = (hash[4] - '0') * 10 + (hash[5] - '0');
  return hash[4] >= '0' && hash[4] <= '3' && hash[5] >= '0' && hash[5] <= '9' && hash[6] == '$' &&
         cost >= 4 && cost <= 17 &&  // 2^18 rounds would take a second and more per login
         hash.substr(7).find_first_not_of(kAlphabet) == std::string_view::npos;
}

bool equal_in_constant_time(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  unsigned char difference = 0;
  for (size_t i = 0; i < a.size(); ++i) difference |= static_cast<unsigned char>(a[i] ^ b[i]);
  return difference == 0;
}

bool bcrypt_matches(const std::string& password, const std::string& hash) {
  auto data = std::make_unique<crypt_data>();
  const char* result = ::crypt_r(password.c_str(), hash.c_str(), data.get());
  return result && equal_in_constant_time(result, hash);
}

}  // namespace

struct Authenticator::Cache {
  std::mutex mutex;            // of `known`
  std::set<Sha256Digest> known;
  std::mutex hashing[2];       // bcrypt burns a processor: two at a time, whoever asks
  std::string key = random_hex(32);
};

Authenticator::Authenticator() : cache_(std::make_unique<Cache>()) {}
Authenticator::~Authenticator() = default;

Result<std::unique_ptr<Authenticator>> Authenticator::parse(std::string_view text,
                                                            const std::string& name) {
  std::unique_ptr<Authenticator> out(new Authenticator);
  for (int number = 1; !text.empty(); ++number) {
    size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.remove_suffix(1);
    if (line.empty() || line.front() == '#') continue;
    size_t colon = line.find(':');
    if (colon == std::string_view::npos || colon == 0)
      return Error(ErrorKind::kInvalid, fmt::format("{}:{}: not of the form user:hash", name, number));
    std::string user(line.substr(0, colon));
    std::string hash(line.substr(colon + 1));
    // The hash itself is a secret and stays out of the message.
    if (!is_bcrypt(hash))
      return Error(ErrorKind::kInvalid,
                   fmt::format("{}:{}: the password of \"{}\" is not hashed with bcrypt", name,
                               number, user))
          .hint("make entries with `htpasswd -B`; MD5, SHA-1, crypt and plain text are refused");
    out->unknown_user_hash_ = hash;
    out->hashes_[std::move(user)] = std::move(hash);
  }
  if (out->hashes_.empty())
    return Error(ErrorKind::kInvalid, name + " names no user, so nobody could log in");
  return out;
}

bool Authenticator::verify(const std::string& user, const std::string& password) {
  auto found = hashes_.find(user);
  const Sha256Digest proof =
      FieldHash(cache_->key).add(user).add(password).finish();
  {
    std::lock_guard lock(cache_->mutex);
    if (cache_->known.contains(proof)) return true;
  }
  bool right;
  {
    std::lock_guard lock(cache_->hashing[proof.bytes[0] & 1]);
    right = bcrypt_matches(password, found == hashes_.end() ? unknown_user_hash_ : found->second);
  }
  if (!right || found == hashes_.end()) return false;
  std::lock_guard lock(cache_->mutex);
  if (cache_->known.size() >= kMaxRemembered) cache_->known.clear();
  cache_->known.insert(proof);
  return true;
}

bool Authenticator::accepts(std::string_view authorization) {
  constexpr std::string_view kScheme = "basic ";
  if (authorization.size() <= kScheme.size() ||
      !std::equal(kScheme.begin(), kScheme.end(), authorization.begin(),
                  [](char a, char b) { return a == (b >= 'A' && b <= 'Z' ? b + 32 : b); }))
    return false;
  auto pair = decode_base64(authorization.substr(kScheme.size()), Padding::kOptional);
  if (!pair) return false;
  size_t colon = pair->find(':');
  // crypt(3) stops at a NUL: "right\0anything" must not pass for "right".
  if (colon == std::string::npos || pair->size() > kMaxPassword ||
      pair->find('\0') != std::string::npos)
    return false;
  return verify(pair->substr(0, colon), pair->substr(colon + 1));
}

}  // namespace kasane::serve
