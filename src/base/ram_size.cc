#include "base/ram_size.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <string>

namespace kasane {

std::optional<uint64_t> parse_ram_size(std::string_view text) {
  size_t digits = text.find_first_not_of("0123456789.");
  if (digits == std::string_view::npos) digits = text.size();
  double value = 0;
  auto [end, error] =
      std::from_chars(text.data(), text.data() + digits, value, std::chars_format::fixed);
  if (digits == 0 || error != std::errc() || end != text.data() + digits) return std::nullopt;
  std::string unit(text.substr(digits));
  std::transform(unit.begin(), unit.end(), unit.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (unit.starts_with(' ')) unit.erase(0, 1);
  double factor = 1;
  if (!unit.empty() && unit != "b") {
    size_t power = std::string_view("kmgtp").find(unit[0]);
    std::string_view tail = std::string_view(unit).substr(1);
    if (power == std::string_view::npos || (!tail.empty() && tail != "b" && tail != "ib"))
      return std::nullopt;
    for (size_t i = 0; i <= power; ++i) factor *= 1024;
  }
  constexpr double kLargest = 9.2e18;
  if (!(value * factor < kLargest)) return std::nullopt;
  return static_cast<uint64_t>(value * factor);
}

}  // namespace kasane
