#include "base/hash.h"

#include <gtest/gtest.h>

namespace kasane {
namespace {

constexpr std::string_view kAbc =
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

TEST(Sha256, KnownAnswers) {  // FIPS 180-2, appendix B
  EXPECT_EQ(sha256(std::string_view("abc")).hex(), kAbc);
  EXPECT_EQ(sha256(std::string_view("")).hex(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(Sha256, PiecesAndReuse) {
  Sha256 hash;
  for (int round = 0; round < 2; ++round) {
    hash.update(std::string_view("a"));
    hash.update(std::string_view("bc"));
    EXPECT_EQ(hash.finish().hex(), kAbc);
  }
}

TEST(Digest, Parses) {
  const std::string text = "sha256:" + std::string(kAbc);
  EXPECT_EQ(Sha256Digest::parse(text)->str(), text);
  EXPECT_FALSE(Sha256Digest::parse(kAbc));
  EXPECT_FALSE(Sha256Digest::parse(text + "0"));
  EXPECT_FALSE(Sha256Digest::parse("sha512:" + std::string(kAbc)));
  std::string upper(kAbc);
  upper[0] = 'B';
  EXPECT_FALSE(Sha256Digest::from_hex(upper));
  EXPECT_TRUE(Sha256Digest{}.is_zero());
}

TEST(FieldHash, BoundariesCount) {
  EXPECT_NE(FieldHash("d").add("ab").add("c").finish(), FieldHash("d").add("a").add("bc").finish());
  EXPECT_NE(FieldHash("d").add("a").finish(), FieldHash("e").add("a").finish());
  EXPECT_EQ(FieldHash("d").add(uint64_t{1}).finish(), FieldHash("d").add(uint64_t{1}).finish());
}

}  // namespace
}  // namespace kasane
