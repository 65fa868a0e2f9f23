#include "cli/units.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>
#include <ctime>

#include "cli/template/gofmt.h"
#include "oci/image_config.h"

namespace kasane::cli {
namespace {

constexpr int64_t kSecond = 1'000'000'000;

tm local(int64_t unix_seconds) {
  time_t seconds = static_cast<time_t>(unix_seconds);
  tm fields = {};
  localtime_r(&seconds, &fields);
  return fields;
}

std::string offset(const tm& fields, bool colon) {
  long minutes = std::labs(fields.tm_gmtoff) / 60;
  return fmt::format("{}{:02}{}{:02}", fields.tm_gmtoff < 0 ? '-' : '+', minutes / 60,
                     colon ? ":" : "", minutes % 60);
}

// Nine digits of a decimal fraction as nanoseconds.
std::optional<int64_t> fraction(std::string_view digits) {
  if (digits.empty() || digits.size() > 9) return std::nullopt;
  int64_t value = 0;
  auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (parsed.ptr != digits.data() + digits.size()) return std::nullopt;
  for (size_t i = digits.size(); i < 9; ++i) value *= 10;
  return value;
}

std::optional<int64_t> parse_unix(std::string_view text) {
  size_t dot = text.find('.');
  std::string_view whole = text.substr(0, dot);
  int64_t seconds = 0;
  auto parsed = std::from_chars(whole.data(), whole.data() + whole.size(), seconds);
  if (whole.empty() || whole.size() > 10 || parsed.ptr != whole.data() + whole.size())
    return std::nullopt;
  int64_t rest = 0;
  if (dot != std::string_view::npos) {
    auto ns = fraction(text.substr(dot + 1));
    if (!ns) return std::nullopt;
    rest = *ns;
  }
  return seconds * kSecond + rest;
}

// "2006-01-02" and longer prefixes of RFC 3339, without a zone: local time.
std::optional<int64_t> parse_local(std::string_view text) {
  constexpr std::array<const char*, 4> kForms = {"%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M",
                                                 "%Y-%m-%dT%H", "%Y-%m-%d"};
  std::string copy(text);
  for (const char* form : kForms) {
    tm fields = {};
    fields.tm_isdst = -1;
    const char* end = strptime(copy.c_str(), form, &fields);
    if (!end || fields.tm_year > 7000) continue;
    int64_t ns = 0;
    if (*end == '.' && form == kForms[0]) {
      auto parsed = fraction(std::string_view(end + 1));
      if (!parsed) continue;
      ns = *parsed;
    } else if (*end != '\0') {
      continue;
    }
    return static_cast<int64_t>(mktime(&fields)) * kSecond + ns;
  }
  return std::nullopt;
}

}  // namespace

std::string human_size(double bytes, int digits) {
  constexpr std::array<const char*, 9> kUnits = {"B",  "kB", "MB", "GB", "TB",
                                                 "PB", "EB", "ZB", "YB"};
  size_t unit = 0;
  while (bytes >= 1000 && unit + 1 < kUnits.size()) {
    bytes /= 1000;
    ++unit;
  }
  return tmpl::go_float(bytes, 'g', digits) + kUnits[unit];
}

std::optional<uint64_t> parse_size(std::string_view text) {
  constexpr double kLargest = 9.2e18;
  const size_t digits = std::min(text.find_first_not_of("0123456789."), text.size());
  double value = 0;
  auto parsed = std::from_chars(text.data(), text.data() + digits, value, std::chars_format::fixed);
  if (digits == 0 || parsed.ec != std::errc() || parsed.ptr != text.data() + digits)
    return std::nullopt;
  std::string_view unit = text.substr(digits);
  if (unit.starts_with(' ')) unit.remove_prefix(1);
  auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  const size_t power =
      unit.empty() ? std::string_view::npos : std::string_view("kmgtp").find(lower(unit[0]));
  if (power != std::string_view::npos) {
    unit.remove_prefix(1);
    if (!unit.empty() && lower(unit[0]) == 'i') {
      unit.remove_prefix(1);
      if (unit.empty()) return std::nullopt;
    }
    for (size_t i = 0; i <= power; ++i) value *= 1024;
  }
  if (!unit.empty() && (unit.size() > 1 || lower(unit[0]) != 'b')) return std::nullopt;
  if (!(value < kLargest)) return std::nullopt;
  return static_cast<uint64_t>(value);
}

std::string short_duration(uint64_t duration_ns) {
  const uint64_t tenths = duration_ns / 100'000'000;
  if (tenths < 600) return fmt::format("{}.{}s", tenths / 10, tenths % 10);
  return fmt::format("{}m{:02}s", tenths / 600, tenths % 600 / 10);
}

std::string human_duration(int64_t duration_ns) {
  const int64_t seconds = duration_ns / kSecond;
  if (seconds < 1) return "Less than a second";
  if (seconds == 1) return "1 second";
  if (seconds < 60) return fmt::format("{} seconds", seconds);
  const int64_t minutes = seconds / 60;
  if (minutes == 1) return "About a minute";
  if (minutes < 60) return fmt::format("{} minutes", minutes);
  const double exact = static_cast<double>(duration_ns) / 3.6e12;
  const int64_t hours = static_cast<int64_t>(std::floor(exact + 0.5));
  if (hours == 1) return "About an hour";
  if (hours < 48) return fmt::format("{} hours", hours);
  if (hours < 24 * 7 * 2) return fmt::format("{} days", hours / 24);
  if (hours < 24 * 30 * 2) return fmt::format("{} weeks", hours / 24 / 7);
  if (hours < 24 * 365 * 2) return fmt::format("{} months", hours / 24 / 30);
  return fmt::format("{} years", static_cast<int64_t>(exact) / 24 / 365);
}

std::string go_time(int64_t unix_seconds) {
  tm f = local(unix_seconds);
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02} {} {}", f.tm_year + 1900, f.tm_mon + 1,
                     f.tm_mday, f.tm_hour, f.tm_min, f.tm_sec, offset(f, false), f.tm_zone);
}

std::string local_rfc3339(int64_t unix_seconds) {
  tm f = local(unix_seconds);
  std::string zone = f.tm_gmtoff == 0 ? "Z" : offset(f, true);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{}", f.tm_year + 1900, f.tm_mon + 1,
                     f.tm_mday, f.tm_hour, f.tm_min, f.tm_sec, zone);
}

std::string truncate_id(std::string_view id) {
  if (size_t colon = id.find(':'); colon != std::string_view::npos) id.remove_prefix(colon + 1);
  return std::string(id.substr(0, 12));
}

std::optional<int64_t> parse_duration(std::string_view text) {
  struct Unit {
    std::string_view name;
    double ns;
  };
  constexpr std::array<Unit, 8> kUnits{{{"ns", 1},
                                        {"us", 1e3},
                                        {"\u00b5s", 1e3},
                                        {"\u03bcs", 1e3},
                                        {"ms", 1e6},
                                        {"s", 1e9},
                                        {"m", 6e10},
                                        {"h", 3.6e12}}};
  bool negative = !text.empty() && text[0] == '-';
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) text.remove_prefix(1);
  if (text == "0") return 0;
  if (text.empty()) return std::nullopt;
  double total = 0;
  while (!text.empty()) {
    size_t digits = text.find_first_not_of("0123456789.");
    if (digits == 0 || digits == std::string_view::npos) return std::nullopt;
    double number = 0;
    auto parsed =
        std::from_chars(text.data(), text.data() + digits, number, std::chars_format::fixed);
    if (parsed.ptr != text.data() + digits) return std::nullopt;
    text.remove_prefix(digits);
    std::string_view name = text.substr(0, text.find_first_of("0123456789."));
    double unit = 0;
    for (const Unit& candidate : kUnits)
      if (candidate.name == name) unit = candidate.ns;
    if (unit == 0) return std::nullopt;
    text.remove_prefix(name.size());
    total += number * unit;
    if (total > 9.2e18) return std::nullopt;
  }
  return static_cast<int64_t>(negative ? -total : total);
}

std::optional<int64_t> parse_timestamp(std::string_view text, int64_t now_ns) {
  if (auto ns = parse_unix(text)) return ns;
  if (auto duration = parse_duration(text)) return now_ns - *duration;
  if (auto zoned = oci::parse_time(text)) return zoned;
  return parse_local(text);
}

}  // namespace kasane::cli
