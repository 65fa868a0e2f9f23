#include "serve/range.h"

#include <algorithm>
#include <charconv>

namespace kasane::serve {
namespace {

std::optional<uint64_t> parse_number(std::string_view text) {
  uint64_t value = 0;
  if (text.empty() || text.find_first_not_of("0123456789") != std::string_view::npos)
    return std::nullopt;
  auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failed != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

}  // namespace

std::optional<ByteRange> parse_upload_range(std::string_view text) {
  text = trim(text);
  size_t dash = text.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  auto first = parse_number(text.substr(0, dash));
  auto last = parse_number(text.substr(dash + 1));
  if (!first || !last || *last < *first || *last == UINT64_MAX) return std::nullopt;
  return ByteRange{*first, *last};
}

RangeAnswer choose_range(std::string_view header, uint64_t size) {
  using Kind = RangeAnswer::Kind;
  constexpr std::string_view kUnit = "bytes=";
  if (!header.starts_with(kUnit)) return {};
  std::string_view range = trim(header.substr(kUnit.size()));
  size_t dash = range.find('-');
  if (dash == std::string_view::npos || range.find(',') != std::string_view::npos) return {};
  std::string_view first_text = trim(range.substr(0, dash));
  std::string_view last_text = trim(range.substr(dash + 1));
  if (first_text.empty()) {  // the last N bytes
    auto count = parse_number(last_text);
    if (!count) return {};
    if (*count == 0 || size == 0) return {Kind::kUnsatisfiable, {}};
    return {Kind::kPart, {size - std::min(*count, size), size - 1}};
  }
  auto first = parse_number(first_text);
  auto last = last_text.empty() ? std::optional<uint64_t>(UINT64_MAX) : parse_number(last_text);
  if (!first || !last) return {};
  // "500-0" is malformed and could be ignored; the conformance suite wants to hear 416.
  if (*first >= size || *last < *first) return {Kind::kUnsatisfiable, {}};
  return {Kind::kPart, {*first, std::min(*last, size - 1)}};
}

bool etag_matches(std::string_view list, std::string_view etag) {
  while (!list.empty()) {
    size_t comma = list.find(',');
    std::string_view item = trim(list.substr(0, comma));
    list = comma == std::string_view::npos ? std::string_view() : list.substr(comma + 1);
    if (item.starts_with("W/")) item.remove_prefix(2);
    if (item == "*" || item == etag) return true;
  }
  return false;
}

}  // namespace kasane::serve
