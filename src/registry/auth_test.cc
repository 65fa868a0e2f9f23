#include "registry/auth.h"

#include <gtest/gtest.h>

namespace kasane::registry {
namespace {

Endpoint endpoint(const std::string& origin, bool insecure = false) {
  Endpoint out;
  out.scheme = origin.substr(0, origin.find(':'));
  out.host = out.credential_host = origin.substr(origin.find("//") + 2);
  out.plain_http = insecure;
  return out;
}

// "refused", "credentials" or "anonymous".
std::string judged(const Endpoint& own, const std::string& realm, const std::string& trusted = "") {
  RealmVerdict verdict = judge_realm(own, realm, trusted);
  return !verdict.refused.empty() ? "refused" : verdict.credentials ? "credentials" : "anonymous";
}

TEST(RealmTest, SameSiteOverHttpsOnly) {
  const Endpoint hub = endpoint("https://registry-1.docker.io");
  EXPECT_EQ(judged(hub, "https://auth.docker.io/token"), "credentials");
  EXPECT_EQ(judged(hub, "http://auth.docker.io/token"), "refused");
  EXPECT_EQ(judged(hub, "https://evil.example/token"), "anonymous");
  EXPECT_EQ(judged(hub, "https://evil.example/token", "good.example,evil.example"), "credentials");
  EXPECT_EQ(judged(hub, "https://notdocker.io/token"), "anonymous");
  EXPECT_EQ(judged(hub, "https://docker.io.evil.example/token"), "anonymous");
  EXPECT_EQ(judged(hub, "https://auth.docker.io@evil.example/t"), "refused");
  EXPECT_EQ(judged(hub, "file:///etc/passwd"), "refused");
  EXPECT_EQ(judged(endpoint("https://reg.a.co.uk"), "https://auth.b.co.uk/t"), "anonymous");
  EXPECT_EQ(judged(endpoint("https://reg.a.co.uk"), "https://auth.a.co.uk/t"), "credentials");
  EXPECT_EQ(judged(endpoint("https://8.8.8.8"), "https://9.9.8.8/t"), "anonymous");
  EXPECT_EQ(judged(endpoint("https://8.8.8.8:5000"), "https://8.8.8.8/t"), "credentials");
}

TEST(RealmTest, NoPrivateAddressesForPublicRegistries) {
  const Endpoint hub = endpoint("https://registry-1.docker.io");
  for (const char* realm : {"https://169.254.169.254/latest", "https://127.0.0.1/t", "https://10.1.1.1/t",
                            "https://[::1]/t", "https://[fd00::1]/t", "https://localhost/t", "https://0.0.0.0/t",
                            "https://2130706433/t", "https://0x7f.1/t", "https://[::ffff:10.0.0.1]/t"})
    EXPECT_EQ(judged(hub, realm), "refused") << realm;
  EXPECT_EQ(judged(hub, "https://8.8.8.8/t"), "anonymous");
}

TEST(RealmTest, LoopbackAndInsecure) {
  const Endpoint local = endpoint("http://127.0.0.1:5000", true);
  EXPECT_EQ(judged(local, "http://127.0.0.1:5001/token"), "credentials");
  EXPECT_EQ(judged(local, "http://localhost:5001/token"), "credentials");
  EXPECT_EQ(judged(local, "http://evil.example/token"), "refused");
  EXPECT_EQ(judged(local, "https://evil.example/token"), "anonymous");
  EXPECT_EQ(judged(endpoint("http://r.example", true), "http://auth.r.example/t"), "refused");
  EXPECT_EQ(judged(endpoint("http://r.example", true), "http://r.example:5001/t"), "credentials");
}

TEST(ScopesTest, Merge) {
  EXPECT_EQ(merge_scopes({"repository:a:pull"}, {"repository:a:push,pull", "repository:b:pull"}),
            (Scopes{"repository:a:pull,push", "repository:b:pull"}));
  EXPECT_EQ(merge_scopes({"repository:h:5000/a:pull"}, {"junk"}), (Scopes{"repository:h:5000/a:pull"}));
}

}  // namespace
}  // namespace kasane::registry
