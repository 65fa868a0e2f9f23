// The parts of Go's strconv that printing needs: Quote and FormatFloat.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "cli/template/gofmt.h"
#include "cli/template/utf8.h"

namespace kasane::cli::tmpl {

std::string go_quote(std::string_view text, bool ascii) {
  std::string out = "\"";
  while (!text.empty()) {
    const Rune rune = decode_rune(text);
    const uint32_t r = rune.value;
    if (!rune.valid) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[0]));
    } else if (r == '"' || r == '\\') {
      out += '\\';
      out += static_cast<char>(r);
    } else if (is_printable(r) && (r < 0x80 || !ascii)) {
      out += text.substr(0, rune.width);
    } else if (constexpr std::string_view kNamed = "\a\b\f\n\r\t\v";
               r < 0x80 && kNamed.find(static_cast<char>(r)) != std::string_view::npos) {
      out += '\\';
      out += "abfnrtv"[kNamed.find(static_cast<char>(r))];
    } else if (r < 0x80) {
      out += fmt::format("\\x{:02x}", r);
    } else if (r < 0x10000) {
      out += fmt::format("\\u{:04x}", r);
    } else {
      out += fmt::format("\\U{:08x}", r);
    }
    text.remove_prefix(rune.width);
  }
  return out + '"';
}

std::string go_float(double number, char verb, int precision) {
  if (std::isnan(number)) return "NaN";
  if (std::isinf(number)) return number < 0 ? "-Inf" : "+Inf";
  char buffer[512];
  const bool upper = verb == 'E' || verb == 'G';
  auto style = verb == 'f'                  ? std::chars_format::fixed
               : verb == 'e' || verb == 'E' ? std::chars_format::scientific
                                            : std::chars_format::general;
  std::string text;
  if (style == std::chars_format::general) {
    // Go's %g: exponent form when exp < -4 or exp >= the digits (6 for the shortest text).
    auto end =
        precision < 0
            ? std::to_chars(buffer, buffer + sizeof buffer, number, std::chars_format::scientific)
                  .ptr
            : std::to_chars(buffer, buffer + sizeof buffer, number, std::chars_format::scientific,
                            std::max(0, precision - 1))
                  .ptr;
    text.assign(buffer, end);
    int exponent = std::atoi(text.c_str() + text.find('e') + 1);
    int limit = precision < 0 ? 6 : std::max(precision, 1);
    if (exponent >= -4 && exponent < limit) {
      int decimals = precision < 0 ? -1 : std::max(0, limit - 1 - exponent);
      text = go_float(number, 'f', decimals);
      if (precision >= 0 && text.find('.') != std::string::npos) {
        text.erase(text.find_last_not_of('0') + 1);
        if (text.back() == '.') text.pop_back();
      }
    } else if (precision >= 0 && text.find('.') != std::string::npos) {
      size_t e = text.find('e');
      size_t keep = text.find_last_not_of('0', e - 1) + 1;
      if (text[keep - 1] == '.') --keep;
      text.erase(keep, e - keep);
    }
  } else {
    precision = std::min(precision, 100);
    auto end = precision < 0
                   ? std::to_chars(buffer, buffer + sizeof buffer, number, style).ptr
                   : std::to_chars(buffer, buffer + sizeof buffer, number, style, precision).ptr;
    text.assign(buffer, end);
  }
  if (upper) std::replace(text.begin(), text.end(), 'e', 'E');
  return text;
}

}  // namespace kasane::cli::tmpl
