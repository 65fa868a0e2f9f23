#include "oci/digest.h"

#include <algorithm>

namespace kasane::oci {
namespace {

bool is_algorithm_character(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }
bool is_separator(char c) { return c == '+' || c == '.' || c == '_' || c == '-'; }
bool is_encoded_character(char c) {
  return is_algorithm_character(c) || (c >= 'A' && c <= 'Z') || c == '=' || c == '_' || c == '-';
}
bool is_lower_hex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); }

// OCI image-spec descriptor.md: component ([+._-] component)*, component = [a-z0-9]+.
bool is_algorithm(std::string_view text) {
  bool after_component = false;
  for (char c : text) {
    if (is_separator(c)) {
      if (!after_component) return false;
      after_component = false;
    } else if (is_algorithm_character(c)) {
      after_component = true;
    } else {
      return false;
    }
  }
  return after_component;
}

// Hex digits that a registered algorithm must have; 0 for others.
size_t expected_length(std::string_view algorithm) {
  if (algorithm == "sha256") return 64;
  if (algorithm == "sha384") return 96;
  if (algorithm == "sha512") return 128;
  return 0;
}

}  // namespace

bool is_digest(std::string_view text) {
  size_t colon = text.find(':');
  if (colon == std::string_view::npos) return false;
  std::string_view algorithm = text.substr(0, colon);
  std::string_view encoded = text.substr(colon + 1);
  if (!is_algorithm(algorithm) || encoded.empty() || encoded.size() > 512) return false;
  if (size_t length = expected_length(algorithm); length != 0)
    return encoded.size() == length && std::all_of(encoded.begin(), encoded.end(), is_lower_hex);
  return std::all_of(encoded.begin(), encoded.end(), is_encoded_character);
}

Result<Sha256Digest> parse_sha256(std::string_view text) {
  if (auto digest = Sha256Digest::parse(text)) return *digest;
  std::string shown(text.substr(0, 150));
  if (!is_digest(text)) {
    bool known = expected_length(text.substr(0, text.find(':'))) != 0;
    return Error(ErrorKind::kInvalid, std::string(known ? "invalid checksum digest length or "
                                                          "characters"
                                                        : "invalid checksum digest format") +
                                          ": \"" + shown + "\"");
  }
  return Error(ErrorKind::kUnsupported,
               "unsupported digest algorithm: \"" + shown + "\" (kasane verifies sha256 only)");
}

}  // namespace kasane::oci
