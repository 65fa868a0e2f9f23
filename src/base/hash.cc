#include "base/hash.h"

// The low-level interface, deprecated in name only: EVP would fetch a provider at every
// start, which costs more than all hashing of a cached build.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>

namespace kasane {
namespace {

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

}  // namespace

std::string to_hex(std::span<const uint8_t> bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text(bytes.size() * 2, '0');
  for (size_t i = 0; i < bytes.size(); ++i) {
    text[2 * i] = kDigits[bytes[i] >> 4];
    text[2 * i + 1] = kDigits[bytes[i] & 15];
  }
  return text;
}

std::string Sha256Digest::hex() const { return to_hex(bytes); }

std::optional<Sha256Digest> Sha256Digest::from_hex(std::string_view hex) {
  if (hex.size() != 64) return std::nullopt;
  Sha256Digest digest;
  for (size_t i = 0; i < 32; ++i) {
    int high = hex_value(hex[2 * i]);
    int low = hex_value(hex[2 * i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    digest.bytes[i] = static_cast<uint8_t>(high << 4 | low);
  }
  return digest;
}

std::optional<Sha256Digest> Sha256Digest::parse(std::string_view text) {
  constexpr std::string_view kPrefix = "sha256:";
  if (!text.starts_with(kPrefix)) return std::nullopt;
  return from_hex(text.substr(kPrefix.size()));
}

struct Sha256::State {
  SHA256_CTX ctx;
};

Sha256::Sha256() : state_(std::make_unique<State>()) { SHA256_Init(&state_->ctx); }
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;
Sha256::~Sha256() = default;

void Sha256::update(std::span<const uint8_t> bytes) {
  SHA256_Update(&state_->ctx, bytes.data(), bytes.size());
}
void Sha256::update(std::string_view text) {
  SHA256_Update(&state_->ctx, text.data(), text.size());
}

Sha256Digest Sha256::finish() {
  Sha256Digest digest;
  SHA256_Final(digest.bytes.data(), &state_->ctx);
  SHA256_Init(&state_->ctx);
  return digest;
}

Sha256Digest sha256(std::string_view text) {
  Sha256 hash;
  hash.update(text);
  return hash.finish();
}

Sha256Digest sha256(std::span<const uint8_t> bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.finish();
}

FieldHash& FieldHash::add(std::string_view field) {
  uint64_t size = field.size();
  hash_.update(std::span(reinterpret_cast<const uint8_t*>(&size), sizeof size));
  hash_.update(field);
  return *this;
}

FieldHash& FieldHash::add(uint64_t number) {
  return add(std::string_view(reinterpret_cast<const char*>(&number), sizeof number));
}

FieldHash& FieldHash::add(const Sha256Digest& digest) {
  return add(std::string_view(reinterpret_cast<const char*>(digest.bytes.data()), 32));
}

}  // namespace kasane
