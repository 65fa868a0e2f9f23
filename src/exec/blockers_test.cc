#include "exec/blockers.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "exec/helpers.h"

namespace kasane::exec {
namespace {

TEST(FreeRange, IsAboveEveryOther) {
  EXPECT_EQ(free_range_line("", "me"), "me:100000:65536");
  EXPECT_EQ(free_range_line("a:100000:65536\nb:165536:65536\n", "me"), "me:231072:65536");
  EXPECT_EQ(free_range_line("b:165536:65536\na:100000:65536", "me"), "me:231072:65536");
  EXPECT_EQ(free_range_line("a:1000:5\n", "me"), "me:100000:65536");
  // Damaged lines and a file without room do not make an impossible line.
  EXPECT_EQ(free_range_line("x\n:::\na:b:c\na:99999999999999999999:1\n", "me"), "me:100000:65536");
  EXPECT_EQ(free_range_line("a:4294900000:60000\n", "me"), "me:100000:65536");
}

TEST(MapHelper, WithoutPrivilegeIsNamed) {
  auto directory = TempDir::make("kasane-helper");
  ASSERT_TRUE(directory);
  const std::string path = directory->path() + "/newuidmap";
  ASSERT_TRUE(replace_file(path, "", 0755));
  EXPECT_NE(map_helper_blocker(path).find("neither setuid root"), std::string::npos);
  EXPECT_EQ(map_helper_blocker(directory->path() + "/none"), "");
  if (::geteuid() != 0) return;
  ASSERT_EQ(::chmod(path.c_str(), 04755), 0);
  const std::string left = map_helper_blocker(path);
  EXPECT_TRUE(left.empty() || left.find("nosuid") != std::string::npos) << left;
}

TEST(Helpers, AreFoundInFixedDirectories) {
  ::setenv("PATH", "/nonexistent", 1);
  EXPECT_TRUE(find_helper("sh").starts_with("/"));
  EXPECT_EQ(find_helper("no such program"), "");
  EXPECT_EQ(find_helper("../../etc"), "");  // a directory is no program
  EXPECT_EQ(file_version(""), "-");
  EXPECT_NE(file_version("/bin/sh"), "-");
}

}  // namespace
}  // namespace kasane::exec
