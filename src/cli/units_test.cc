#include "cli/units.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <ctime>

namespace kasane::cli {
namespace {

TEST(Units, Sizes) {
  const std::pair<double, const char*> three[] = {
      {0, "0B"},
      {-1, "-1B"},
      {1, "1B"},
      {999, "999B"},
      {1000, "1kB"},
      {1234, "1.23kB"},
      {4261574, "4.26MB"},
      {999499, "999kB"},
      {999500, "1e+03kB"},
      {1e9, "1GB"},
      {1.5e12, "1.5TB"},
      {12345678, "12.3MB"},
      {123456789, "123MB"},
      {1e15, "1PB"},
      {1e18, "1EB"},
      {1e21, "1ZB"},
      {1e24, "1YB"},
      {1e27, "1e+03YB"},
  };
  for (const auto& [bytes, text] : three) EXPECT_EQ(human_size(bytes), text) << bytes;
  EXPECT_EQ(human_size(4261574, 4), "4.262MB");
  EXPECT_EQ(human_size(1000000, 4), "1MB");
  EXPECT_EQ(human_size(999960, 4), "1000kB");
  EXPECT_EQ(human_size(0, 4), "0B");
}

TEST(Units, Durations) {
  constexpr double kMinute = 60, kHour = 3600, kDay = 24 * kHour;
  const std::pair<double, const char*> cases[] = {
      {-5, "Less than a second"},
      {0, "Less than a second"},
      {0.999, "Less than a second"},
      {1, "1 second"},
      {1.9, "1 second"},
      {59, "59 seconds"},
      {60, "About a minute"},
      {119, "About a minute"},
      {120, "2 minutes"},
      {59 * kMinute, "59 minutes"},
      {60 * kMinute, "About an hour"},
      {89 * kMinute, "About an hour"},
      {90 * kMinute, "2 hours"},
      {47 * kHour, "47 hours"},
      {47.4 * kHour, "47 hours"},
      {47.6 * kHour, "2 days"},
      {13.9 * kDay, "13 days"},
      {14 * kDay, "2 weeks"},
      {59 * kDay, "8 weeks"},
      {60 * kDay, "2 months"},
      {700 * kDay, "23 months"},
      {729 * kDay, "24 months"},
      {730 * kDay, "2 years"},
      {1094 * kDay, "2 years"},
      {1095 * kDay, "3 years"},
  };
  for (const auto& [seconds, text] : cases)
    EXPECT_EQ(human_duration(static_cast<int64_t>(seconds * 1e9)), text) << seconds;
}

class LocalTime : public ::testing::Test {
 protected:
  void SetUp() override { zone("UTC"); }
  void TearDown() override { zone("UTC"); }
  static void zone(const char* name) {
    setenv("TZ", name, 1);
    tzset();
  }
};

TEST_F(LocalTime, GoTimes) {
  EXPECT_EQ(go_time(1704067200), "2024-01-01 00:00:00 +0000 UTC");
  EXPECT_EQ(local_rfc3339(1704067200), "2024-01-01T00:00:00Z");
  EXPECT_EQ(local_rfc3339(-62135596800), "0001-01-01T00:00:00Z");
  zone("CET-1");
  EXPECT_EQ(go_time(1704067200), "2024-01-01 01:00:00 +0100 CET");
  EXPECT_EQ(local_rfc3339(1704067200), "2024-01-01T01:00:00+01:00");
  zone("XYZ+3:30");
  EXPECT_EQ(local_rfc3339(1704067200), "2023-12-31T20:30:00-03:30");
}

TEST_F(LocalTime, Timestamps) {
  constexpr int64_t kNow = 1'700'000'000'000'000'000;
  constexpr int64_t kSecond = 1'000'000'000;
  EXPECT_EQ(parse_timestamp("10m", kNow), kNow - 600 * kSecond);
  EXPECT_EQ(parse_timestamp("1h30m", kNow), kNow - 5400 * kSecond);
  EXPECT_EQ(parse_timestamp("1704067200", kNow), 1704067200 * kSecond);
  EXPECT_EQ(parse_timestamp("1704067200.5", kNow), 1704067200 * kSecond + kSecond / 2);
  EXPECT_EQ(parse_timestamp("2024-01-01", kNow), 1704067200 * kSecond);
  EXPECT_EQ(parse_timestamp("2024-01-01T00:00:01", kNow), 1704067201 * kSecond);
  EXPECT_EQ(parse_timestamp("2024-01-01T00:00:01Z", kNow), 1704067201 * kSecond);
  EXPECT_EQ(parse_timestamp("2024-01-01T01:00:00+01:00", kNow), 1704067200 * kSecond);
  for (const char* bad : {"", "x", "10", "1x", "2024-13-01", "2024-01-01x", "--1", "1h-"}) {
    if (std::string_view(bad) == "10") continue;  // a unix time
    EXPECT_FALSE(parse_timestamp(bad, kNow)) << bad;
  }
}

TEST(Units, GoDurations) {
  EXPECT_EQ(parse_duration("1.5h"), 5400'000'000'000);
  EXPECT_EQ(parse_duration("-1ms"), -1'000'000);
  EXPECT_EQ(parse_duration("1us"), 1000);
  EXPECT_EQ(parse_duration("1µs"), 1000);
  EXPECT_EQ(parse_duration("0"), 0);
  EXPECT_FALSE(parse_duration("1"));
  EXPECT_FALSE(parse_duration("1.2.3s"));
  EXPECT_FALSE(parse_duration("9999999999999h"));
}

TEST(Units, Ids) {
  EXPECT_EQ(truncate_id("sha256:0123456789abcdef"), "0123456789ab");
  EXPECT_EQ(truncate_id("short"), "short");
  EXPECT_EQ(truncate_id("<missing>"), "<missing>");
}

TEST(Units, ParseSize) {
  EXPECT_EQ(parse_size("0"), 0u);
  EXPECT_EQ(parse_size("17"), 17u);
  EXPECT_EQ(parse_size("17B"), 17u);
  EXPECT_EQ(parse_size("2k"), 2048u);
  EXPECT_EQ(parse_size("1.5 GiB"), 3u << 29);
  EXPECT_EQ(parse_size("10GB"), 10ull << 30);
  for (const char* bad : {"", "x", "-1", "1x", "1GBs", "1Gi", "1..2", ".", "1e3", "99999999P", "B"})
    EXPECT_EQ(parse_size(bad), std::nullopt) << bad;
}

TEST(Units, ShortDuration) {
  EXPECT_EQ(short_duration(0), "0.0s");
  EXPECT_EQ(short_duration(12'345'000'000), "12.3s");
  EXPECT_EQ(short_duration(125'000'000'000), "2m05s");
}

}  // namespace
}  // namespace kasane::cli
