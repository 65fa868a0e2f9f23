#include "serve/htpasswd.h"

#include <crypt.h>
#include <gtest/gtest.h>

#include "base/base64.h"

namespace kasane::serve {
namespace {

std::string entry(const std::string& user, const std::string& password) {
  crypt_data data{};
  return user + ":" + ::crypt_r(password.c_str(), "$2y$04$abcdefghijklmnopqrstuu", &data) + "\n";
}

std::string basic(const std::string& pair) { return "Basic " + base64(pair); }

TEST(Htpasswd, KnownUsers) {
  auto users = Authenticator::parse("# c\r\n\n" + entry("a", "x:y") + entry("b", ""), "file");
  ASSERT_TRUE(users) << users.error().full_message();
  for (int i = 0; i < 2; ++i) {  // the second time from the memory
    EXPECT_TRUE((*users)->accepts(basic("a:x:y")));
    EXPECT_TRUE((*users)->accepts(basic("b:")));
    EXPECT_FALSE((*users)->accepts(basic("b:x:y")));
    EXPECT_FALSE((*users)->accepts(basic("c:x:y")));
    EXPECT_FALSE((*users)->accepts(basic(std::string("a:x:y\0z", 7))));
    EXPECT_FALSE((*users)->accepts(basic("a")));
  }
  EXPECT_TRUE((*users)->accepts("bAsIc " + base64("a:x:y")));
  for (const char* odd : {"", "Basic", "Basic ", "Bearer x", "Basic ***"})
    EXPECT_FALSE((*users)->accepts(odd)) << odd;
  EXPECT_FALSE((*users)->accepts(basic("a:" + std::string(5000, 'x'))));
}

TEST(Htpasswd, OnlyBcrypt) {
  for (const char* line : {"u", ":x", "u:plain", "u:$apr1$x$y", "u:{SHA}x", "u:$1$x$y", "u:$2y$05$short",
                           "u:$2y$18$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                           "u:$2y$05$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!"}) {
    auto users = Authenticator::parse(entry("a", "b") + line, "file");
    ASSERT_FALSE(users) << line;
    EXPECT_NE(users.error().message().find("file:2:"), std::string::npos);
  }
  EXPECT_FALSE(Authenticator::parse("", "file"));
}

}  // namespace
}  // namespace kasane::serve
