#include "ui/step_log.h"

#include <fmt/format.h>

#include <array>

#include "base/diagnostic.h"

namespace kasane::ui {

std::string size_text(uint64_t bytes) {
  constexpr std::array<const char*, 7> kUnits = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1000 && unit + 1 < kUnits.size()) {
    value /= 1000;
    ++unit;
  }
  return unit == 0 ? fmt::format("{}B", bytes) : fmt::format("{:.2f}{}", value, kUnits[unit]);
}

std::string error_tail(std::string_view name, const std::deque<std::string>& lines) {
  std::string text = fmt::format("------\n > {}:\n", sanitize(name));
  for (const std::string& line : lines) text += line + "\n";
  return text + "------\n";
}

std::string warning_list(const std::vector<std::string>& warnings) {
  if (warnings.empty()) return {};
  std::string text =
      fmt::format("\n {} warning{} found:\n", warnings.size(), warnings.size() == 1 ? "" : "s");
  for (const std::string& warning : warnings) text += fmt::format(" - {}\n", sanitize(warning));
  return text;
}

void write_quietly(ByteSink* out, std::string_view text) noexcept {
  if (!out || text.empty()) return;
  (void)out->write({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
}

}  // namespace kasane::ui
