// RFC 3339 as Go's time package reads and writes it.
#include <chrono>
#include <cstdio>

#include "oci/image_config.h"

namespace kasane::oci {
namespace {

constexpr int64_t kSecond = 1'000'000'000;

// Reads fixed-width fields from the front of a text; `ok` turns false at the first misfit.
struct Scanner {
  std::string_view rest;
  bool ok = true;

  int number(int width) {
    int value = 0;
    for (int i = 0; i < width; ++i) {
      if (rest.empty() || rest[0] < '0' || rest[0] > '9') {
        ok = false;
        return 0;
      }
      value = value * 10 + (rest[0] - '0');
      rest.remove_prefix(1);
    }
    return value;
  }
  bool next_is(char c) const { return !rest.empty() && rest[0] == c; }
  void literal(char c) {
    if (!next_is(c)) {
      ok = false;
      return;
    }
    rest.remove_prefix(1);
  }
  int64_t fraction_ns() {
    if (!next_is('.') && !next_is(',')) return 0;
    rest.remove_prefix(1);
    int64_t value = 0;
    int digits = 0;
    for (; !rest.empty() && rest[0] >= '0' && rest[0] <= '9'; ++digits, rest.remove_prefix(1))
      if (digits < 9) value = value * 10 + (rest[0] - '0');
    if (digits == 0) ok = false;
    for (; digits < 9; ++digits) value *= 10;
    return value;
  }
  int offset_seconds() {
    if (next_is('Z')) {
      rest.remove_prefix(1);
      return 0;
    }
    int sign = next_is('-') ? -1 : 1;
    if (!next_is('+') && !next_is('-')) ok = false;
    if (!ok) return 0;
    rest.remove_prefix(1);
    int hours = number(2);
    literal(':');
    int minutes = number(2);
    if (hours > 23 || minutes > 59) ok = false;
    return sign * (hours * 3600 + minutes * 60);
  }
};

}  // namespace

std::string format_time(int64_t unix_ns) {
  using namespace std::chrono;
  int64_t seconds_since = unix_ns / kSecond;
  int64_t nanoseconds = unix_ns % kSecond;
  if (nanoseconds < 0) {
    nanoseconds += kSecond;
    seconds_since -= 1;
  }
  sys_seconds instant{seconds(seconds_since)};
  sys_days day = floor<days>(instant);
  year_month_day date(day);
  auto second_of_day = static_cast<int>((instant - day).count());
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, "%04d-%02u-%02uT%02d:%02d:%02d",
                static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                static_cast<unsigned>(date.day()), second_of_day / 3600, second_of_day / 60 % 60,
                second_of_day % 60);
  std::string out = buffer;
  if (nanoseconds > 0) {
    std::snprintf(buffer, sizeof buffer, ".%09d", static_cast<int>(nanoseconds));
    std::string fraction = buffer;
    fraction.erase(fraction.find_last_not_of('0') + 1);
    out += fraction;
  }
  return out + "Z";
}

std::optional<int64_t> parse_time(std::string_view rfc3339) {
  using namespace std::chrono;
  Scanner in{rfc3339};
  int year_number = in.number(4);
  in.literal('-');
  int month_number = in.number(2);
  in.literal('-');
  int day_number = in.number(2);
  in.literal('T');
  int hour = in.number(2);
  in.literal(':');
  int minute = in.number(2);
  in.literal(':');
  int second = in.number(2);
  int64_t nanoseconds = in.ok ? in.fraction_ns() : 0;
  int offset = in.ok ? in.offset_seconds() : 0;
  year_month_day date{year(year_number), month(static_cast<unsigned>(month_number)),
                      day(static_cast<unsigned>(day_number))};
  if (!in.ok || !in.rest.empty() || !date.ok() || hour > 23 || minute > 59 || second > 59)
    return std::nullopt;
  int64_t total = sys_seconds(sys_days(date)).time_since_epoch().count() + hour * 3600 +
                  minute * 60 + second - offset;
  int64_t out;
  if (__builtin_mul_overflow(total, kSecond, &out) ||
      __builtin_add_overflow(out, nanoseconds, &out))
    return std::nullopt;  // outside the years 1678 to 2262
  return out;
}

}  // namespace kasane::oci
