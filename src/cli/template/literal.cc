#include "cli/template/literal.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "cli/template/gofmt.h"
#include "cli/template/utf8.h"

namespace kasane::cli::tmpl {
namespace {

constexpr std::string_view kNamedEscapes = "abfnrtv\\'\"";
constexpr std::string_view kNamedValues = "\a\b\f\n\r\t\v\\'\"";

// strconv.UnquoteChar after the backslash. Appends to `out`; false when malformed.
bool unescape(std::string_view& rest, char quote, std::string& out, uint32_t& rune) {
  if (rest.empty()) return false;
  const char c = rest[0];
  if (size_t named = kNamedEscapes.find(c); named != std::string_view::npos) {
    if ((c == '\'' || c == '"') && c != quote) return false;
    rest.remove_prefix(1);
    rune = static_cast<unsigned char>(kNamedValues[named]);
    out += kNamedValues[named];
    return true;
  }
  const bool octal = c >= '0' && c <= '7';
  size_t length = octal ? 3 : c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
  if (length == 0) return false;
  if (!octal) rest.remove_prefix(1);
  if (rest.size() < length) return false;
  uint32_t value = 0;
  auto parsed = std::from_chars(rest.data(), rest.data() + length, value, octal ? 8 : 16);
  if (parsed.ptr != rest.data() + length || parsed.ec != std::errc()) return false;
  rest.remove_prefix(length);
  rune = value;
  if (octal || c == 'x') {
    if (value > 255) return false;
    out += static_cast<char>(value);
    return true;
  }
  if (value > 0x10ffff || (value >= 0xd800 && value < 0xe000)) return false;
  append_rune(out, value);
  return true;
}

std::optional<double> parse_real(std::string_view text) {
  bool negative = !text.empty() && text[0] == '-';
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) text.remove_prefix(1);
  auto style = std::chars_format::general;
  if (text.starts_with("0x") || text.starts_with("0X")) {
    text.remove_prefix(2);
    style = std::chars_format::hex;
  }
  double value = 0;
  auto parsed = std::from_chars(text.data(), text.data() + text.size(), value, style);
  if (text.empty() || parsed.ptr != text.data() + text.size() || parsed.ec != std::errc())
    return std::nullopt;
  return negative ? -value : value;
}

}  // namespace

std::optional<std::string> unquote(std::string_view text) {
  if (text.size() < 2 || text.front() != text.back()) return std::nullopt;
  const char quote = text[0];
  std::string_view rest = text.substr(1, text.size() - 2);
  if (quote == '`') {
    std::string raw(rest);
    std::erase(raw, '\r');
    return raw;
  }
  std::string out;
  while (!rest.empty()) {
    char c = rest[0];
    if (c == quote || c == '\n') return std::nullopt;
    if (c != '\\') {
      out += c;
      rest.remove_prefix(1);
      continue;
    }
    rest.remove_prefix(1);
    uint32_t rune;
    if (!unescape(rest, quote, out, rune)) return std::nullopt;
  }
  return out;
}

Result<Number> parse_number(std::string_view text, bool character) {
  if (character) {
    std::string_view rest = text.substr(1, text.size() - 2);
    std::string out;
    uint32_t rune = 0;
    bool good = !rest.empty();
    if (good && rest[0] == '\\') {
      rest.remove_prefix(1);
      good = unescape(rest, '\'', out, rune);
    } else if (good) {
      Rune first = decode_rune(rest);
      rune = first.value;
      rest.remove_prefix(first.width);
    }
    if (!good) return Error(ErrorKind::kInvalid, "invalid syntax");
    if (!rest.empty())
      return Error(ErrorKind::kInvalid, fmt::format("malformed character constant: {}", text));
    return Number{Value::integer(rune)};
  }
  std::string clean(text);
  std::erase(clean, '_');
  std::string_view digits = clean;
  bool negative = !digits.empty() && digits[0] == '-';
  if (!digits.empty() && (digits[0] == '-' || digits[0] == '+')) digits.remove_prefix(1);
  int base = 10;
  if (digits.size() > 1 && digits[0] == '0') {
    char kind = static_cast<char>(std::tolower(static_cast<unsigned char>(digits[1])));
    base = kind == 'x' ? 16 : kind == 'b' ? 2 : 8;
    digits.remove_prefix(kind == 'x' || kind == 'b' || kind == 'o' ? 2 : 1);
  }
  uint64_t value = 0;
  auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (!digits.empty() && parsed.ptr == digits.data() + digits.size()) {
    Number number;
    const uint64_t limit = static_cast<uint64_t>(INT64_MAX) + (negative ? 1 : 0);
    number.overflow = parsed.ec != std::errc() || value > limit;
    number.value = Value::integer(static_cast<int64_t>(negative ? 0 - value : value));
    return number;
  }
  if (auto real = parse_real(clean)) return Number{Value::real(*real)};
  return Error(ErrorKind::kInvalid, fmt::format("illegal number syntax: {}", go_quote(text)));
}

}  // namespace kasane::cli::tmpl
