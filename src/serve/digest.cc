#include "serve/digest.h"

#include <algorithm>
#include <cstdint>

#include "base/hash.h"
// As in base/hash.cc: the low-level interface needs no provider to be loaded.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>

namespace kasane::serve {

std::string_view name_of(Algorithm algorithm) {
  return algorithm == Algorithm::kSha256 ? "sha256" : "sha512";
}

std::optional<Algorithm> algorithm_named(std::string_view name) {
  if (name == "sha256") return Algorithm::kSha256;
  if (name == "sha512") return Algorithm::kSha512;
  return std::nullopt;
}

std::optional<ContentDigest> ContentDigest::parse(std::string_view text) {
  size_t colon = text.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  auto algorithm = algorithm_named(text.substr(0, colon));
  std::string_view hex = text.substr(colon + 1);
  if (!algorithm || hex.size() != (*algorithm == Algorithm::kSha256 ? 64u : 128u))
    return std::nullopt;
  if (hex.find_first_not_of("0123456789abcdef") != std::string_view::npos) return std::nullopt;
  return ContentDigest{*algorithm, std::string(hex)};
}

ContentDigest ContentDigest::of(std::string_view bytes, Algorithm algorithm) {
  ContentHasher hasher(algorithm);
  hasher.update(std::span(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()));
  return hasher.finish();
}

std::string ContentDigest::str() const { return std::string(name_of(algorithm)) + ":" + hex; }

struct ContentHasher::State {
  Algorithm algorithm;
  SHA256_CTX sha256;
  SHA512_CTX sha512;
};

ContentHasher::ContentHasher(Algorithm algorithm) : state_(std::make_unique<State>()) {
  state_->algorithm = algorithm;
  if (algorithm == Algorithm::kSha256)
    SHA256_Init(&state_->sha256);
  else
    SHA512_Init(&state_->sha512);
}
ContentHasher::ContentHasher(ContentHasher&&) noexcept = default;
ContentHasher& ContentHasher::operator=(ContentHasher&&) noexcept = default;
ContentHasher::~ContentHasher() = default;

Algorithm ContentHasher::algorithm() const { return state_->algorithm; }

void ContentHasher::update(std::span<const uint8_t> bytes) {
  if (state_->algorithm == Algorithm::kSha256)
    SHA256_Update(&state_->sha256, bytes.data(), bytes.size());
  else
    SHA512_Update(&state_->sha512, bytes.data(), bytes.size());
}

ContentDigest ContentHasher::finish() {
  uint8_t raw[64];
  size_t size = state_->algorithm == Algorithm::kSha256 ? 32 : 64;
  if (state_->algorithm == Algorithm::kSha256)
    SHA256_Final(raw, &state_->sha256);
  else
    SHA512_Final(raw, &state_->sha512);
  return {state_->algorithm, to_hex(std::span<const uint8_t>(raw, size))};
}

}  // namespace kasane::serve
