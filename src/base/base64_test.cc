#include "base/base64.h"

#include <gtest/gtest.h>

namespace kasane {
namespace {

TEST(Base64, GoesThereAndBack) {  // RFC 4648 section 10
  const std::pair<std::string_view, std::string_view> cases[] = {{"", ""},
                                                                 {"f", "Zg=="},
                                                                 {"fo", "Zm8="},
                                                                 {"foo", "Zm9v"},
                                                                 {"foob", "Zm9vYg=="},
                                                                 {"fooba", "Zm9vYmE="},
                                                                 {"foobar", "Zm9vYmFy"},
                                                                 {"\xff\xfe", "//4="}};
  for (const auto& [bytes, text] : cases) {
    EXPECT_EQ(base64(bytes), text);
    EXPECT_EQ(decode_base64(text, Padding::kRequired), bytes);
    std::string_view bare = text.substr(0, text.find('='));
    EXPECT_EQ(decode_base64(bare, Padding::kOptional), bytes);
  }
}

TEST(Base64, RefusesWhatIsMalformed) {
  for (std::string_view bad :
       {"Z", "Zg", "Zg=", "Zg===", "Z===", "====", "Zg==Zg==", "Zm9v\n", "Zm-v"})
    EXPECT_EQ(decode_base64(bad, Padding::kRequired), std::nullopt) << bad;
  for (std::string_view bad : {"Z", "Z=g", "Zm9vY", "Zm 9"})
    EXPECT_EQ(decode_base64(bad, Padding::kOptional), std::nullopt) << bad;
}

}  // namespace
}  // namespace kasane
