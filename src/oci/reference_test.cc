#include "oci/reference.h"

#include <gtest/gtest.h>

#include "oci/digest.h"
#include "oci/platform.h"

namespace kasane::oci {
namespace {

const std::string kHex = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

TEST(Reference, NormalisesAsDocker) {
  struct Case {
    std::string text, canonical, familiar;
  };
  const Case cases[] = {
      {"alpine", "docker.io/library/alpine", "alpine"},
      {"alpine:3", "docker.io/library/alpine:3", "alpine:3"},
      {"localhost", "docker.io/library/localhost", "localhost"},
      {"example.com", "docker.io/library/example.com", "example.com"},
      {"localhost/a", "localhost/a", "localhost/a"},
      {"localhost:5000/a:b", "localhost:5000/a:b", "localhost:5000/a:b"},
      {"host:5000", "docker.io/library/host:5000", "host:5000"},
      {"example.com/a/b", "example.com/a/b", "example.com/a/b"},
      {"docker.io/alpine", "docker.io/library/alpine", "alpine"},
      {"index.docker.io/alpine", "docker.io/library/alpine", "alpine"},
      {"docker.io/library/alpine", "docker.io/library/alpine", "alpine"},
      {"library/alpine", "docker.io/library/alpine", "alpine"},
      {"library/a/b", "docker.io/library/a/b", "library/a/b"},
      {"foo/bar", "docker.io/foo/bar", "foo/bar"},
      {"UPPER/a", "UPPER/a", "UPPER/a"},
      {"[::1]:80/a", "[::1]:80/a", "[::1]:80/a"},
      {"a__b/c--d/e.f_g", "docker.io/a__b/c--d/e.f_g", "a__b/c--d/e.f_g"},
      {"a:T_-.9", "docker.io/library/a:T_-.9", "a:T_-.9"},
      {"a@sha256:" + kHex, "docker.io/library/a@sha256:" + kHex, "a@sha256:" + kHex},
      {"x.y/a:1@sha256:" + kHex, "x.y/a:1@sha256:" + kHex, "x.y/a:1@sha256:" + kHex},
      {"sha256:" + kHex, "docker.io/library/sha256:" + kHex, "sha256:" + kHex},
  };
  for (const Case& c : cases) {
    Result<Reference> ref = Reference::parse(c.text);
    ASSERT_TRUE(ref) << c.text << ": " << ref.error().full_message();
    EXPECT_EQ(ref->canonical(), c.canonical);
    EXPECT_EQ(ref->familiar(), c.familiar);
    EXPECT_EQ(familiar(c.canonical), c.familiar);
    EXPECT_EQ(Reference::parse(ref->canonical())->canonical(), c.canonical);
  }
  EXPECT_EQ(Reference::parse("a")->with_default_tag().canonical(), "docker.io/library/a:latest");
  EXPECT_EQ(Reference::parse("a:b")->with_default_tag().tag, "b");
  EXPECT_EQ(Reference::parse("a@sha256:" + kHex)->with_default_tag().tag, "");
  EXPECT_EQ(Reference::parse("x.y/a:b")->familiar_name(), "x.y/a");
  EXPECT_EQ(familiar("docker.io/"), "");
  EXPECT_EQ(familiar("docker.io"), "docker.io");
}

TEST(Reference, RefusesWithDockersMessages) {
  const std::string format = "invalid reference format";
  struct Case {
    std::string text, message;
  };
  const Case cases[] = {
      {"", format},
      {kHex, "invalid repository name (" + kHex + "), cannot specify 64-byte hexadecimal strings"},
      {"Foo", "invalid reference format: repository name (library/Foo) must be lowercase"},
      {"foo/Bar:x", "invalid reference format: repository name (foo/Bar) must be lowercase"},
      {"x:y:z", format},
      {"a:", format},
      {"a@", format},
      {"a@sha256:abc", format},
      {"a@sha256:" + kHex + "0", "invalid checksum digest length"},
      {"a@sha256:0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef",
       "invalid checksum digest format"},
      {"a@md5:0123456789abcdef0123456789abcdef", "unsupported digest algorithm"},
      {"a//b", format},
      {"/a", format},
      {"a/", format},
      {"-a", format},
      {"a-", format},
      {"a..b", format},
      {"a___b", format},
      {"a b", format},
      {"a/../b", format},
      {"\xC3\xA9", format},
      {"-x.y/a", format},
      {"x.y:port/a", format},
      {"[::1/a", format},
      {"[]:1/a", format},
      {"a:" + std::string(129, 't'), format},
      {"a:-t", format},
      {std::string(256, 'a'), "repository name must not be more than 255 characters"},
      {std::string(5000, 'a'), format},
  };
  for (const Case& c : cases) {
    Result<Reference> ref = Reference::parse(c.text);
    ASSERT_FALSE(ref) << c.text;
    EXPECT_EQ(ref.error().full_message(), c.message) << c.text;
    EXPECT_EQ(ref.error().kind(), ErrorKind::kInvalid);
  }
}

TEST(Reference, Ids) {
  EXPECT_TRUE(looks_like_id(kHex));
  EXPECT_TRUE(looks_like_id("sha256:ab"));
  EXPECT_FALSE(looks_like_id("abc"));
}

TEST(Digest, Grammar) {
  EXPECT_TRUE(parse_sha256("sha256:" + kHex));
  EXPECT_TRUE(is_digest("sha512:" + kHex + kHex));
  EXPECT_TRUE(is_digest("sha256+b64:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564="));
  EXPECT_EQ(parse_sha256("sha512:" + kHex + kHex).error().kind(), ErrorKind::kUnsupported);
  EXPECT_EQ(parse_sha256("blake3:" + kHex).error().kind(), ErrorKind::kUnsupported);
  for (std::string bad :
       {std::string("sha256:"), std::string("sha256:../../x"), "sha256:" + kHex + "0",
        "sha256:" + kHex.substr(1), "sha512:" + kHex, ":" + kHex, kHex, "Sha256:" + kHex,
        "sha256+:" + kHex, "sha256:" + std::string(64, 'A')}) {
    EXPECT_FALSE(is_digest(bad)) << bad;
    EXPECT_EQ(parse_sha256(bad).error().kind(), ErrorKind::kInvalid) << bad;
  }
}

TEST(Platform, NormalisesAsContainerd) {
  const std::pair<const char*, const char*> cases[] = {
      {"linux/amd64", "linux/amd64"},
      {"Linux/x86_64", "linux/amd64"},
      {"linux/x86-64", "linux/amd64"},
      {"linux/amd64/v1", "linux/amd64"},
      {"linux/amd64/v2", "linux/amd64/v2"},
      {"linux/aarch64", "linux/arm64"},
      {"linux/arm64/v8", "linux/arm64"},
      {"linux/arm64/9", "linux/arm64/v9"},
      {"linux/arm", "linux/arm/v7"},
      {"linux/arm/6", "linux/arm/v6"},
      {"linux/armhf", "linux/arm/v7"},
      {"linux/armel", "linux/arm/v6"},
      {"linux/i386", "linux/386"},
      {"macos/arm64", "darwin/arm64"},
      {"windows(10.0.17763)/amd64", "windows(10.0.17763)/amd64"},
      {"arm64", "linux/arm64"},
      {"s390x", "linux/s390x"},
      {"x86_64", "linux/amd64"},
  };
  for (auto [text, expected] : cases) {
    Result<Platform> platform = Platform::parse(text);
    ASSERT_TRUE(platform) << text << ": " << platform.error().full_message();
    EXPECT_EQ(platform->str(), expected) << text;
  }
  EXPECT_EQ(Platform::parse("linux")->architecture, Platform::host().architecture);
  for (const char* bad :
       {"", "/", "a", "linux/", "linux/a/b/c", "linux/a b", "windows(1/amd64", "lin*x/amd64"})
    EXPECT_FALSE(Platform::parse(bad)) << bad;
}

}  // namespace
}  // namespace kasane::oci
