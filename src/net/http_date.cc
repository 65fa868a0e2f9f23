#include "net/http_date.h"

#include <cstdio>
#include <cstring>
#include <ctime>

namespace kasane::net {
namespace {

constexpr const char* kMonths = "JanFebMarAprMayJunJulAugSepOctNovDec";
constexpr const char* kDays = "SunMonTueWedThuFriSat";

std::optional<int64_t> seconds_of(int year, const char* month, int day, int hour, int minute,
                                  int second) {
  const char* found = std::strlen(month) == 3 ? std::strstr(kMonths, month) : nullptr;
  if (!found || (found - kMonths) % 3 != 0) return std::nullopt;
  if (year < 1000 || year > 9999 || day < 1 || day > 31 || hour < 0 || hour > 23 || minute < 0 ||
      minute > 59 || second < 0 || second > 60)
    return std::nullopt;
  std::tm time{};
  time.tm_year = year - 1900;
  time.tm_mon = static_cast<int>((found - kMonths) / 3);
  time.tm_mday = day;
  time.tm_hour = hour;
  time.tm_min = minute;
  time.tm_sec = second;
  return ::timegm(&time);
}

}  // namespace

std::optional<int64_t> parse_http_date(std::string_view text) {
  if (text.size() > 64) return std::nullopt;
  std::string copy(text);
  char month[4] = {};
  int year = 0, day = 0, hour = 0, minute = 0, second = 0, end = -1;
  std::sscanf(copy.c_str(), "%*3[A-Za-z], %2d %3[A-Za-z] %4d %2d:%2d:%2d GMT%n", &day, month, &year,
              &hour, &minute, &second, &end);
  if (end == static_cast<int>(copy.size()))
    return seconds_of(year, month, day, hour, minute, second);
  std::sscanf(copy.c_str(), "%*[A-Za-z], %2d-%3[A-Za-z]-%2d %2d:%2d:%2d GMT%n", &day, month, &year,
              &hour, &minute, &second, &end);
  if (end == static_cast<int>(copy.size()))
    return seconds_of(year < 69 ? year + 2000 : year + 1900, month, day, hour, minute, second);
  std::sscanf(copy.c_str(), "%*3[A-Za-z] %3[A-Za-z] %2d %2d:%2d:%2d %4d%n", month, &day, &hour,
              &minute, &second, &year, &end);
  if (end == static_cast<int>(copy.size()))
    return seconds_of(year, month, day, hour, minute, second);
  return std::nullopt;
}

std::string format_http_date(int64_t seconds) {
  time_t value = seconds;
  std::tm time{};
  if (!::gmtime_r(&value, &time)) return "";
  char text[64];
  std::snprintf(text, sizeof text, "%.3s, %02d %.3s %04d %02d:%02d:%02d GMT",
                kDays + 3 * time.tm_wday, time.tm_mday, kMonths + 3 * time.tm_mon,
                time.tm_year + 1900, time.tm_hour, time.tm_min, time.tm_sec);
  return text;
}

}  // namespace kasane::net
