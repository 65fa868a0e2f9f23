#include "dockerfile/substitution.h"

#include <cstring>

#include "dockerfile/expand.h"
#include "dockerfile/unicode.h"

namespace kasane::dockerfile {
namespace {

// Bytes of pattern times bytes of value that a search with `?` may compare.
constexpr uint64_t kMaxComparisons = 256u << 20;

std::string reverse_characters(std::string_view text) {
  std::string out(text.size(), '\0');
  size_t end = text.size();
  for (size_t i = 0; i < text.size();) {
    size_t length = decode_utf8(text, i).length;
    end -= length;
    std::memcpy(out.data() + end, text.data() + i, length);
    i += length;
  }
  return out;
}

Error too_large() {
  return Error(ErrorKind::kLimit, "variable expansion grows beyond " +
                                      std::to_string(kMaxExpandedBytes >> 20) + " MiB");
}

}  // namespace

Result<SubstitutionPattern> SubstitutionPattern::parse(std::string_view pattern) {
  SubstitutionPattern out;
  out.segments_.emplace_back();
  auto add_literal = [&](std::string_view text) {
    Segment& segment = out.segments_.back();
    segment.literal += text;
    segment.bytes.insert(segment.bytes.end(), text.begin(), text.end());
  };
  for (size_t i = 0; i < pattern.size(); ++i) {
    char c = pattern[i];
    if (c == '*') {
      // Neighbouring stars mean the same as one.
      if (out.segments_.size() == 1 || !out.segments_.back().empty()) out.segments_.emplace_back();
    } else if (c == '?') {
      out.segments_.back().bytes.push_back(std::nullopt);
      out.segments_.back().has_any = true;
    } else if (c == '\\') {
      char next = i + 1 < pattern.size() ? pattern[i + 1] : '\0';
      if (i + 1 == pattern.size() || std::string_view("*?\\/}").find(next) == std::string::npos)
        return Error(ErrorKind::kInvalid,
                     "invalid escape '\\" + std::string(pattern.substr(i + 1, 1)) + "'");
      add_literal(pattern.substr(++i, 1));
    } else {
      add_literal(pattern.substr(i, 1));
    }
  }
  return out;
}

SubstitutionPattern SubstitutionPattern::reversed() const {
  SubstitutionPattern out;
  for (auto segment = segments_.rbegin(); segment != segments_.rend(); ++segment) {
    Segment turned;
    turned.has_any = segment->has_any;
    turned.literal = reverse_characters(segment->literal);
    std::string run;  // literal bytes between two `?`, turned by whole characters
    std::vector<std::string> runs;
    for (const std::optional<char>& byte : segment->bytes) {
      if (byte) {
        run += *byte;
        continue;
      }
      runs.push_back(std::move(run));
      run.clear();
    }
    runs.push_back(std::move(run));
    for (size_t i = runs.size(); i-- > 0;) {
      for (char c : reverse_characters(runs[i])) turned.bytes.emplace_back(c);
      if (i > 0) turned.bytes.push_back(std::nullopt);
    }
    out.segments_.push_back(std::move(turned));
  }
  return out;
}

Result<> SubstitutionPattern::check_cost(std::string_view value) const {
  uint64_t any = 0;
  for (const Segment& segment : segments_)
    if (segment.has_any) any += segment.bytes.size();
  if (any * value.size() > kMaxComparisons)
    return Error(ErrorKind::kLimit, "pattern and value of a substitution are too long together");
  return {};
}

std::optional<size_t> SubstitutionPattern::match_at(const Segment& segment, std::string_view value,
                                                    size_t at) {
  if (!segment.has_any) {
    if (value.substr(at, segment.literal.size()) != segment.literal) return std::nullopt;
    return at + segment.literal.size();
  }
  for (const std::optional<char>& byte : segment.bytes) {
    if (at >= value.size()) return std::nullopt;
    if (byte && value[at] != *byte) return std::nullopt;
    at += byte ? 1 : decode_utf8(value, at).length;
  }
  return at;
}

SubstitutionPattern::Found SubstitutionPattern::find_first(const Segment& segment,
                                                           std::string_view value, size_t from) {
  if (segment.empty()) return Range{from, from};
  if (!segment.has_any) {
    // memmem is linear (two-way search); string_view::find is not.
    const void* hit = memmem(value.data() + from, value.size() - from, segment.literal.data(),
                             segment.literal.size());
    if (!hit) return std::nullopt;
    size_t begin = static_cast<size_t>(static_cast<const char*>(hit) - value.data());
    return Range{begin, begin + segment.literal.size()};
  }
  for (size_t at = from; at < value.size(); at += decode_utf8(value, at).length)
    if (auto end = match_at(segment, value, at)) return Range{at, *end};
  return std::nullopt;
}

SubstitutionPattern::Found SubstitutionPattern::find_last(const Segment& segment,
                                                          std::string_view value, size_t from) {
  if (segment.empty()) return Range{value.size(), value.size()};
  if (!segment.has_any) {
    std::string text(value.substr(from));
    std::string needle = segment.literal;
    std::string turned(text.rbegin(), text.rend());
    std::string turned_needle(needle.rbegin(), needle.rend());
    const void* hit =
        memmem(turned.data(), turned.size(), turned_needle.data(), turned_needle.size());
    if (!hit) return std::nullopt;
    size_t end = value.size() - static_cast<size_t>(static_cast<const char*>(hit) - turned.data());
    return Range{end - needle.size(), end};
  }
  Found last;
  for (size_t at = from; at < value.size(); at += decode_utf8(value, at).length)
    if (auto end = match_at(segment, value, at)) last = Range{at, *end};
  return last;
}

// Taking the earliest place for every middle segment leaves the most room for the last
// one, so no backtracking is needed: the last one alone decides how long the match is.
std::optional<size_t> SubstitutionPattern::match_rest(std::string_view value, size_t end,
                                                      bool longest) const {
  for (size_t i = 1; i < segments_.size(); ++i) {
    bool last = i + 1 == segments_.size();
    Found found = last && longest ? find_last(segments_[i], value, end)
                                  : find_first(segments_[i], value, end);
    if (!found) return std::nullopt;
    end = found->end;
  }
  return end;
}

SubstitutionPattern::Found SubstitutionPattern::find(std::string_view value, size_t from) const {
  Found first = find_first(segments_.front(), value, from);
  if (!first) return std::nullopt;
  // When the rest does not fit behind the first place, it fits behind no later one.
  auto end = match_rest(value, first->end, true);
  if (!end) return std::nullopt;
  return Range{first->begin, *end};
}

Result<std::string> SubstitutionPattern::strip_prefix(std::string_view value, bool longest) const {
  TRY(check_cost(value));
  auto end = match_at(segments_.front(), value, 0);
  if (end) end = match_rest(value, *end, longest);
  return std::string(value.substr(end.value_or(0)));
}

Result<std::string> SubstitutionPattern::strip_suffix(std::string_view value, bool longest) const {
  std::string turned = reverse_characters(value);
  std::string rest = TRY(reversed().strip_prefix(turned, longest));
  return std::string(value.substr(0, rest.size()));
}

// The walk of Go's regexp.ReplaceAll: an empty match right behind another one is not taken.
Result<std::string> SubstitutionPattern::replace(std::string_view value,
                                                 std::string_view replacement, bool all) const {
  TRY(check_cost(value));
  std::string out;
  size_t copied = 0;
  for (size_t at = 0; at <= value.size();) {
    Found found = find(value, at);
    if (!found) break;
    out += value.substr(copied, found->begin - copied);
    if (found->end > copied || found->begin == 0) out += replacement;
    copied = found->end;
    if (out.size() > kMaxExpandedBytes) return too_large();
    if (!all) break;
    size_t step = at < value.size() ? decode_utf8(value, at).length : 1;
    at = std::max(at + step, found->end);
  }
  out += value.substr(std::min(copied, value.size()));
  if (out.size() > kMaxExpandedBytes) return too_large();
  return out;
}

}  // namespace kasane::dockerfile
