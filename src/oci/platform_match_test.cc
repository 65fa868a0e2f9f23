#include "oci/platform_match.h"

#include <gtest/gtest.h>

namespace kasane::oci {
namespace {

std::string fallbacks(const std::string& text) {
  std::string out;
  for (const Platform& platform : platform_fallbacks(*Platform::parse(text)))
    out += platform.str().substr(6) + " ";
  return out;
}

TEST(PlatformMatchTest, Fallbacks) {
  EXPECT_EQ(fallbacks("linux/amd64/v3"), "amd64/v3 amd64/v2 amd64 386 ");
  EXPECT_EQ(fallbacks("linux/amd64"), "amd64 386 ");
  EXPECT_EQ(fallbacks("linux/arm/v7"), "arm/v7 arm/v6 arm/v5 ");
  EXPECT_EQ(fallbacks("linux/arm64"), "arm64 arm/v8 arm/v7 arm/v6 arm/v5 ");
  EXPECT_EQ(fallbacks("linux/arm64/v9.1"),
            "arm64/v9.1 arm64/v9 arm64/v8.6 arm64/v8.5 arm64/v8.4 arm64/v8.3 arm64/v8.2 arm64/v8.1 arm64 "
            "arm/v8 arm/v7 arm/v6 arm/v5 ");
  EXPECT_EQ(fallbacks("linux/s390x"), "s390x ");
}

Descriptor entry(const std::string& platform, const std::string& digest) {
  Descriptor out;
  out.media_type = kMediaTypeManifest;
  out.digest = digest;
  if (!platform.empty()) out.platform = *Platform::parse(platform);
  return out;
}

TEST(PlatformMatchTest, Choice) {
  const auto chosen = [](std::vector<Descriptor> list, const std::string& wanted, bool strict = false) {
    const Descriptor* best = choose_platform(list, *Platform::parse(wanted), strict);
    return best ? best->digest : std::string("-");
  };
  std::vector<Descriptor> list = {entry("", "none"), entry("linux/386", "386"), entry("linux/amd64", "v1"),
                                  entry("linux/amd64/v2", "v2"), entry("linux/arm64/v8", "arm64")};
  EXPECT_EQ(chosen(list, "linux/amd64/v3"), "v2");
  EXPECT_EQ(chosen(list, "linux/amd64"), "v1");
  EXPECT_EQ(chosen(list, "linux/amd64/v3", true), "none") << "no platform fits anything, last";
  EXPECT_EQ(chosen(list, "linux/arm64"), "arm64");
  Descriptor attestation = entry("unknown/unknown", "attestation");
  EXPECT_EQ(chosen({attestation}, "linux/amd64"), "-");
  Descriptor foreign = entry("linux/amd64", "foreign");
  foreign.media_type = "application/vnd.example";
  EXPECT_EQ(chosen({foreign}, "linux/amd64"), "-");
}

}  // namespace
}  // namespace kasane::oci
