// Strict JSON documents of the size of a manifest or config. Reference R2: UTF-8 only, no
// byte order mark, no duplicate members in any object, depth <= 64, size <= 4 MiB, a bounded
// number of values. Go's decoder matches member names without regard to case; documents that
// use this to mean two things are refused by refuse_case_variants().
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace kasane::oci {

// A value with the order of its members and the digits of its numbers kept. Pure value.
struct Json {
  enum class Type : uint8_t { kNull, kBool, kNumber, kString, kArray, kObject };
  struct Member;

  Type type = Type::kNull;
  bool boolean = false;
  std::string text;             // kString: decoded; kNumber: its digits
  std::vector<Json> items;      // kArray
  std::vector<Member> members;  // kObject

  static constexpr size_t kMaxBytes = 4u << 20;
  static constexpr size_t kMaxDepth = 64;
  static constexpr size_t kMaxValues = 200'000;

  // `what` names the document in errors: "image config". kInvalid or kLimit.
  static Result<Json> parse(std::string_view document, std::string_view what);

  bool is_null() const { return type == Type::kNull; }
  bool is_object() const { return type == Type::kObject; }
  bool is_array() const { return type == Type::kArray; }
  bool is_string() const { return type == Type::kString; }
  const Json* find(std::string_view key) const;  // member of an object, or nullptr

  // Compact text as Go's encoding/json writes it.
  void write(std::string& out) const;
};

struct Json::Member {
  std::string name;
  Json value;
};

// A JSON string as Go's encoding/json writes it: <, >, & and U+2028/9 are escaped, invalid
// UTF-8 becomes U+FFFD.
void write_json_string(std::string& out, std::string_view text);

// kInvalid when a member's name differs from a known one only by case, in Go's folding.
using KeyList = std::span<const std::string_view>;
Result<void> refuse_case_variants(const Json& object, KeyList known, std::string_view what);

// Typed reading of one object's members. Absent and null members leave the target alone, as
// Go does. Errors name the document and the member: "image config: config.Env is not ...".
class JsonReader {
 public:
  // `object` must be an object and outlive the reader; `prefix` is "" or "config.".
  JsonReader(const Json& object, std::string_view what, std::string prefix = "")
      : object_(object), what_(what), prefix_(std::move(prefix)) {}

  Result<void> get(std::string_view key, std::string& out) const;  // without NUL bytes
  Result<void> get(std::string_view key, bool& out) const;
  Result<void> get(std::string_view key, int64_t& out) const;
  Result<void> get(std::string_view key, std::vector<std::string>& out) const;
  Result<void> get(std::string_view key, std::optional<std::vector<std::string>>& out) const;
  Result<void> get(std::string_view key, std::map<std::string, std::string>& out) const;
  Result<void> get_key_set(std::string_view key, std::set<std::string>& out) const;  // {"k":{}}
  // nullptr when absent or null; kInvalid when it has another type.
  Result<const Json*> object(std::string_view key) const;
  Result<const Json*> array(std::string_view key) const;

  Error error(std::string_view key, std::string_view why) const;

 private:
  const Json* present(std::string_view key) const;
  const Json& object_;
  std::string what_;
  std::string prefix_;
};

}  // namespace kasane::oci
