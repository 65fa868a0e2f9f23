#include "registry/challenge.h"

#include <gtest/gtest.h>

namespace kasane::registry {
namespace {

std::string shown(const std::vector<std::string>& headers) {
  Result<std::vector<Challenge>> parsed = parse_challenges(headers);
  if (!parsed) return "error";
  std::string out;
  for (const Challenge& challenge : *parsed) {
    out += challenge.scheme + "{";
    for (const auto& [name, value] : challenge.parameters) out += name + "=" + value + ";";
    out += "}";
  }
  return out;
}

TEST(ChallengeTest, Grammar) {
  EXPECT_EQ(shown({R"(Bearer realm="https://a/t",service="s",scope="repository:x:pull,push")"}),
            "bearer{realm=https://a/t;scope=repository:x:pull,push;service=s;}");
  EXPECT_EQ(shown({R"(BASIC Realm = "a \"b\" \\, c")"}), R"(basic{realm=a "b" \, c;})");
  EXPECT_EQ(shown({R"(Negotiate, Basic realm="x", Bearer realm=y, error="e")"}),
            "negotiate{}basic{realm=x;}bearer{error=e;realm=y;}");
  EXPECT_EQ(shown({"Negotiate YIIabc==, Basic realm=x"}), "negotiate{}basic{realm=x;}");
  EXPECT_EQ(shown({"Basic realm=x", "Bearer realm=y"}), "basic{realm=x;}bearer{realm=y;}");
  EXPECT_EQ(shown({" , ,Basic,, "}), "basic{}");
  EXPECT_EQ(shown({"Basic realm=\"\""}), "basic{realm=;}");
  EXPECT_EQ(shown({""}), "");
  for (const char* bad : {"Basic realm=\"open", "Basic realm=\"x\" y=z", "=x", "\"x\"", "Basic realm=\"a\\",
                          "Bearer realm=a, realm=b", "Bearer realm=\"a\n\""})
    EXPECT_EQ(shown({bad}), "error") << bad;
}

TEST(ChallengeTest, Choice) {
  const auto chosen = [](const std::string& header) -> std::string {
    Result<std::vector<Challenge>> parsed = parse_challenges({header});
    const Challenge* best = parsed ? choose_challenge(*parsed) : nullptr;
    return best ? best->scheme : "-";
  };
  EXPECT_EQ(chosen("Basic realm=x, Bearer realm=y"), "bearer");
  EXPECT_EQ(chosen("Bearer service=y, Basic realm=x"), "basic") << "bearer without a realm";
  EXPECT_EQ(chosen("Negotiate, Digest realm=x"), "-");
}

TEST(ChallengeTest, HostileInputEnds) {
  std::string commas(1 << 20, ',');
  EXPECT_EQ(shown({commas}), "");
  std::string quotes = "Basic realm=" + std::string(1 << 20, '"');
  EXPECT_EQ(shown({quotes}), "error");
  std::string schemes;
  for (int i = 0; i < 10000; ++i) schemes += "A,";
  EXPECT_EQ(shown({schemes}).size(), 30000u);
}

}  // namespace
}  // namespace kasane::registry
