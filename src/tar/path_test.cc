#include "tar/path.h"

#include <gtest/gtest.h>

namespace kasane::tar {
namespace {

std::string normal(std::string_view raw) {
  Result<std::string> path = normalise_member_path(raw);
  if (!path) return "error: " + path.error().message();
  EXPECT_TRUE(is_normalised_path(*path)) << *path;
  return *path;
}

TEST(NormalisePath, StripsWhatMeansNothing) {
  EXPECT_EQ(normal("a/b"), "a/b");
  EXPECT_EQ(normal("/a//b/"), "a/b");
  EXPECT_EQ(normal("//x"), "x");
  EXPECT_EQ(normal("./a/./b/."), "a/b");
  EXPECT_EQ(normal("a/../b"), "b");
  EXPECT_EQ(normal("a/b/../c"), "a/c");
  for (const char* root : {"", ".", "/", "./", "//./", "a/.."}) EXPECT_EQ(normal(root), "") << root;
}

// X1
TEST(NormalisePath, RefusesToLeaveTheRoot) {
  for (const char* raw :
       {"..", "../x", "a/../../x", "./../x", "a/./../../x", "/..", "/../etc/passwd"}) {
    Result<std::string> path = normalise_member_path(raw);
    ASSERT_FALSE(path) << raw;
    EXPECT_EQ(path.error().kind(), ErrorKind::kInvalid);
  }
}

// X19
TEST(NormalisePath, KeepsBytesExactly) {
  for (const std::string& name :
       {std::string("\xff\xfe"), std::string("a\nb"), std::string("...\\..\\x"), std::string("con"),
        std::string("x "), std::string("x."), std::string("\x1b[31m"), std::string("..x"),
        std::string("\xe2\x80\xae")})
    EXPECT_EQ(normal(name), name);
}

TEST(NormalisePath, Limits) {
  EXPECT_EQ(normal(std::string(255, 'x')).size(), 255u);
  EXPECT_EQ(normalise_member_path(std::string(256, 'x')).error().kind(), ErrorKind::kLimit);
  EXPECT_EQ(normalise_member_path(std::string_view("a\0b", 3)).error().kind(), ErrorKind::kInvalid);
  std::string deep;
  for (int i = 0; i < 2048; ++i) deep += "d/";
  EXPECT_EQ(normal(deep).size(), 4095u);
  EXPECT_EQ(normalise_member_path(deep + "d").error().kind(), ErrorKind::kLimit);
}

TEST(Path, Parts) {
  EXPECT_EQ(parent_path("a/b/c"), "a/b");
  EXPECT_EQ(parent_path("a"), "");
  EXPECT_EQ(base_name("a/b"), "b");
  EXPECT_EQ(base_name("a"), "a");
  for (const char* path : {"/a", "a/", "a//b", "./a", "a/..", "."})
    EXPECT_FALSE(is_normalised_path(path)) << path;
}

}  // namespace
}  // namespace kasane::tar
