// SHA-256, computed by OpenSSL's libcrypto.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace kasane {

// Raw 32 bytes; ordered bytewise. Text forms: hex() and, for OCI, "sha256:" + hex().
struct Sha256Digest {
  std::array<uint8_t, 32> bytes{};
  std::string hex() const;
  std::string str() const { return "sha256:" + hex(); }
  static std::optional<Sha256Digest> from_hex(std::string_view hex);  // 64 lower-case digits
  static std::optional<Sha256Digest> parse(std::string_view text);    // "sha256:<hex>"
  bool is_zero() const { return *this == Sha256Digest{}; }
  auto operator<=>(const Sha256Digest&) const = default;
};

struct Sha256DigestHash {
  size_t operator()(const Sha256Digest& d) const {
    size_t value;
    __builtin_memcpy(&value, d.bytes.data(), sizeof value);
    return value;
  }
};

// Incremental hash. One thread at a time. finish() leaves it ready for the next message.
class Sha256 {
 public:
  Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;
  ~Sha256();
  void update(std::span<const uint8_t> bytes);
  void update(std::string_view text);
  Sha256Digest finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

Sha256Digest sha256(std::string_view text);
Sha256Digest sha256(std::span<const uint8_t> bytes);

// Hash over a sequence of fields, each preceded by its length, so that no two
// different sequences give the same bytes. Used for cache keys and content ids.
class FieldHash {
 public:
  explicit FieldHash(std::string_view domain) { add(domain); }
  FieldHash& add(std::string_view field);
  FieldHash& add(uint64_t number);
  FieldHash& add(const Sha256Digest& digest);
  Sha256Digest finish() { return hash_.finish(); }

 private:
  Sha256 hash_;
};

std::string to_hex(std::span<const uint8_t> bytes);

}  // namespace kasane
