// Patterns of ${name#p}, ${name%p} and ${name/p/r}: `*`, `?` and backslash escapes only
// (V05, V06). Internal to expansion.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace kasane::dockerfile {

class SubstitutionPattern {
 public:
  // "invalid escape '\x'" for an escape of anything but `*`, `?`, `\`, `/` and `}`.
  static Result<SubstitutionPattern> parse(std::string_view pattern);

  // The value without the shortest (or longest) prefix or suffix that matches; the value
  // itself when none does. Linear, except for segments holding `?`, whose product of lengths
  // is limited (kLimit).
  Result<std::string> strip_prefix(std::string_view value, bool longest) const;
  Result<std::string> strip_suffix(std::string_view value, bool longest) const;

  // First or all matches, as long as possible, replaced by literal text.
  Result<std::string> replace(std::string_view value, std::string_view replacement, bool all) const;

 private:
  // Between two stars: literal bytes and any-character marks, in order.
  struct Segment {
    std::string literal;                     // when !has_any
    std::vector<std::optional<char>> bytes;  // nullopt: any one character
    bool has_any = false;
    bool empty() const { return bytes.empty(); }
  };
  struct Range {
    size_t begin;
    size_t end;
  };
  using Found = std::optional<Range>;

  SubstitutionPattern reversed() const;
  Result<> check_cost(std::string_view value) const;
  static std::optional<size_t> match_at(const Segment& segment, std::string_view value, size_t at);
  static Found find_first(const Segment& segment, std::string_view value, size_t from);
  static Found find_last(const Segment& segment, std::string_view value, size_t from);
  // Where a match that begins with the first segment ending at `end` ends.
  std::optional<size_t> match_rest(std::string_view value, size_t end, bool longest) const;
  Found find(std::string_view value, size_t from) const;

  std::vector<Segment> segments_;  // never empty; n segments have n-1 stars between them
};

}  // namespace kasane::dockerfile
