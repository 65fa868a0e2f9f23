#include "net/proxy.h"

#include <gtest/gtest.h>

#include <map>

#include "net/address.h"

namespace kasane::net {
namespace {

std::string proxy(const std::string& url, const std::map<std::string, std::string>& variables) {
  std::optional<UrlParts> parts = split_url(url);
  return proxy_for(*parts, [&](const char* name) -> const char* {
    auto it = variables.find(name);
    return it == variables.end() ? nullptr : it->second.c_str();
  });
}

TEST(Proxy, EachSchemeHasItsVariable) {
  const std::map<std::string, std::string> all = {{"HTTP_PROXY", "p:1"}, {"HTTPS_PROXY", "s:2"}, {"ALL_PROXY", "socks5://a:3"}};
  EXPECT_EQ(proxy("http://h/", all), "p:1");
  EXPECT_EQ(proxy("https://h/", all), "s:2");
  EXPECT_EQ(proxy("https://h/", {{"ALL_PROXY", "socks5://a:3"}, {"HTTP_PROXY", "p:1"}}), "socks5://a:3");
  EXPECT_EQ(proxy("https://h/", {{"HTTPS_PROXY", "s:2"}, {"https_proxy", "low:4"}}), "low:4");
  EXPECT_EQ(proxy("http://h/", {{"HTTP_PROXY", "p:1"}, {"REQUEST_METHOD", "GET"}}), "");
  EXPECT_EQ(proxy("http://h/", {}), "");
  EXPECT_EQ(proxy("http://127.0.0.1:5000/", all), "");
  EXPECT_EQ(proxy("https://localhost/", all), "");
}

TEST(Proxy, Exemptions) {
  const auto exempt = [](const std::string& url, const std::string& list) { return is_exempt(*split_url(url), list); };
  EXPECT_TRUE(exempt("https://a.test/", "*"));
  EXPECT_TRUE(exempt("https://a.test/", "x, A.TEST"));
  EXPECT_TRUE(exempt("https://r.a.test:5000/", "a.test"));
  EXPECT_FALSE(exempt("https://ra.test/", "a.test"));
  EXPECT_TRUE(exempt("https://r.a.test/", ".a.test"));
  EXPECT_TRUE(exempt("https://r.a.test/", "*.a.test"));
  EXPECT_FALSE(exempt("https://a.test/", ".a.test"));
  EXPECT_TRUE(exempt("https://a.test:5000/", "a.test:5000"));
  EXPECT_FALSE(exempt("https://a.test/", "a.test:5000"));
  EXPECT_TRUE(exempt("https://10.1.2.3/", "10.0.0.0/8"));
  EXPECT_FALSE(exempt("https://11.1.2.3/", "10.0.0.0/8"));
  EXPECT_TRUE(exempt("https://10.1.2.3:81/", "10.1.2.3:81"));
  EXPECT_TRUE(exempt("https://[fe80::1]/", "fe80::/10"));
  EXPECT_TRUE(exempt("https://[fe80::1]:5/", "fe80::1"));
  EXPECT_TRUE(exempt("https://[fe80::1]:5/", "[fe80::1]:5"));
  EXPECT_FALSE(exempt("https://[fe80::1]:6/", "[fe80::1]:5"));
  for (const char* odd : {"", ",", " , ", ".", "*.", ":", ":443", "10.0.0.0/", "10.0.0.0/99", "/8", "[", "]:", "::/x"})
    EXPECT_FALSE(exempt("https://a.test/", odd)) << odd;
}

TEST(Proxy, NoPasswordsInMessages) {
  EXPECT_EQ(redact_proxy("http://u:p@h:1"), "http://xxxxx@h:1");
  EXPECT_EQ(redact_proxy("u:p@h:1"), "xxxxx@h:1");
  EXPECT_EQ(redact_proxy("h:1"), "h:1");
}

TEST(Address, Networks) {
  EXPECT_TRUE(in_network("192.168.7.1", "192.168.0.0/16"));
  EXPECT_TRUE(in_network("1.2.3.4", "0.0.0.0/0"));
  EXPECT_FALSE(in_network("1.2.3.4", "0.0.0.0/-1"));
  EXPECT_FALSE(in_network("1.2.3.4", "1.2.3.4/32x"));
  EXPECT_FALSE(in_network("name", "0.0.0.0/0"));
  EXPECT_EQ(host_without_port("[::1]:5"), "[::1]");
  EXPECT_EQ(host_without_port("h:5"), "h");
}

}  // namespace
}  // namespace kasane::net
