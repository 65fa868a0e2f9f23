#include "tar/whiteout.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

namespace kasane::tar {
namespace {

void expect_kind(const char* path, WhiteoutKind kind, const char* target) {
  Result<Whiteout> whiteout = classify_whiteout(std::string_view(path));
  ASSERT_TRUE(whiteout) << path << ": " << whiteout.error().full_message();
  EXPECT_EQ(static_cast<int>(whiteout->kind), static_cast<int>(kind)) << path;
  EXPECT_EQ(whiteout->target, target) << path;
}

TEST(Whiteout, Classifies) {
  expect_kind("", WhiteoutKind::kNone, "");
  expect_kind("a/wh.b", WhiteoutKind::kNone, "");
  expect_kind("a/x.wh.b", WhiteoutKind::kNone, "");
  expect_kind(".wh.a", WhiteoutKind::kWhiteout, "a");
  expect_kind("a/b/.wh.c", WhiteoutKind::kWhiteout, "a/b/c");
  expect_kind(".wh...x", WhiteoutKind::kWhiteout, "..x");
  expect_kind("a/.wh..wh..opq", WhiteoutKind::kOpaque, "a");
  expect_kind(".wh..wh..opq", WhiteoutKind::kOpaque, "");
}

// docker skips the book-keeping of aufs; it lives in the root only.
TEST(Whiteout, IgnoresAufsMeta) {
  expect_kind(".wh..wh.plnk", WhiteoutKind::kIgnored, "");
  expect_kind(".wh..wh.plnk/12.34", WhiteoutKind::kIgnored, "");
  expect_kind(".wh..wh.aufs", WhiteoutKind::kIgnored, "");
  expect_kind(".wh..wh.orph/.wh.x", WhiteoutKind::kIgnored, "");
}

// X7
TEST(Whiteout, RefusesTricks) {
  for (const char* path :
       {".wh.", ".wh..", ".wh...", "a/.wh.", "a/.wh..", "a/.wh...", ".wh.a/b", ".wh.a/.wh.b",
        ".wh..wh.", ".wh..wh.x", "a/.wh..wh.plnk", ".wh..wh..opq/x", "a/.wh.b/c/d"}) {
    Result<Whiteout> whiteout = classify_whiteout(std::string_view(path));
    ASSERT_FALSE(whiteout) << path;
    EXPECT_EQ(whiteout.error().kind(), ErrorKind::kInvalid);
  }
}

TEST(Whiteout, TypeMustFit) {
  Entry entry = whiteout_entry("a/.wh.b");
  EXPECT_TRUE(classify_whiteout(entry));
  entry.type = EntryType::kHardlink;
  EXPECT_TRUE(classify_whiteout(entry));
  for (EntryType type : {EntryType::kDirectory, EntryType::kSymlink, EntryType::kCharDevice}) {
    entry.type = type;
    EXPECT_FALSE(classify_whiteout(entry));
  }
  entry.path = "a/b";
  EXPECT_TRUE(classify_whiteout(entry));
}

TEST(Whiteout, Builders) {
  EXPECT_EQ(*whiteout_path("a/b"), "a/.wh.b");
  EXPECT_EQ(*whiteout_path("b"), ".wh.b");
  EXPECT_EQ(opaque_path("a"), "a/.wh..wh..opq");
  EXPECT_EQ(opaque_path(""), ".wh..wh..opq");
  EXPECT_TRUE(whiteout_path(std::string(251, 'x')));
  EXPECT_EQ(whiteout_path(std::string(252, 'x')).error().kind(), ErrorKind::kUnsupported);
  EXPECT_EQ(whiteout_path("a/.wh.b").error().kind(), ErrorKind::kUnsupported);
  EXPECT_FALSE(whiteout_path(""));
  EXPECT_EQ(classify_whiteout(*whiteout_path("x/..y"))->target, "x/..y");
}

// X8
TEST(Overlay, Forms) {
  struct stat st {};
  st.st_mode = S_IFCHR;
  st.st_rdev = makedev(0, 0);
  EXPECT_TRUE(is_overlay_whiteout(st));
  st.st_rdev = makedev(1, 3);
  EXPECT_FALSE(is_overlay_whiteout(st));
  Entry device;
  device.type = EntryType::kCharDevice;
  EXPECT_TRUE(is_overlay_whiteout(device));
  device.dev_minor = 1;
  EXPECT_FALSE(is_overlay_whiteout(device));
  EXPECT_TRUE(is_overlay_opaque(std::vector<Xattr>{{"user.overlay.opaque", "y"}}));
  EXPECT_TRUE(is_overlay_opaque(std::vector<Xattr>{{"a", "b"}, {"trusted.overlay.opaque", "y"}}));
  EXPECT_FALSE(is_overlay_opaque(std::vector<Xattr>{{"trusted.overlay.opaque", "n"}}));
  EXPECT_TRUE(is_overlay_xattr("trusted.overlay.redirect"));
  EXPECT_TRUE(is_overlay_xattr("user.overlay.metacopy"));
  EXPECT_FALSE(is_overlay_xattr("user.overlays"));
}

}  // namespace
}  // namespace kasane::tar
