// Digests that content may be stored under: sha256 and sha512, checked to the letter (R3), so that
// their text is safe in a path.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace kasane::serve {

enum class Algorithm { kSha256, kSha512 };

std::string_view name_of(Algorithm algorithm);
std::optional<Algorithm> algorithm_named(std::string_view name);

struct ContentDigest {
  Algorithm algorithm = Algorithm::kSha256;
  std::string hex;  // lower-case, of the algorithm's length

  // Nothing for any other text.
  static std::optional<ContentDigest> parse(std::string_view text);
  static ContentDigest of(std::string_view bytes, Algorithm algorithm = Algorithm::kSha256);
  std::string str() const;
  auto operator<=>(const ContentDigest&) const = default;
};

// Incremental hash of either algorithm. One thread at a time.
class ContentHasher {
 public:
  explicit ContentHasher(Algorithm algorithm);
  ContentHasher(ContentHasher&&) noexcept;
  ContentHasher& operator=(ContentHasher&&) noexcept;
  ~ContentHasher();
  Algorithm algorithm() const;
  void update(std::span<const uint8_t> bytes);
  ContentDigest finish();  // once

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace kasane::serve
