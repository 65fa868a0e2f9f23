#include "base/new_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/fd.h"

namespace kasane {
namespace {

class NewFileTest : public ::testing::Test {
 protected:
  TempDir folder_ = TempDir::make().take();
  std::string path_ = folder_.path() + "/file";

  void write(const std::string& text, bool commit) {
    Result<NewFile> file = NewFile::create(path_, 0640);
    ASSERT_TRUE(file) << file.error().full_message();
    ASSERT_TRUE(write_all(file->fd(), text, path_));
    EXPECT_NE(read_file(path_, 100).value_or(""), text) << "it has its name too early";
    if (!commit) return;
    Result<void> done = file->commit();
    ASSERT_TRUE(done) << done.error().full_message();
    EXPECT_EQ(read_file(path_, 100).value_or(""), text);
  }
  size_t files() { return list_directory(folder_.path())->size(); }
};

TEST_F(NewFileTest, IsNewOrReplaces) {
  write("one", true);
  struct stat st;
  ASSERT_EQ(::stat(path_.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777 & ~0640u, 0u);
  write("two", true);
  EXPECT_EQ(files(), 1u);
}

TEST_F(NewFileTest, LeavesNothingWithoutCommit) {
  write("one", false);
  EXPECT_EQ(files(), 0u);
  write("two", true);
  write("three", false);
  EXPECT_EQ(files(), 1u);
  EXPECT_EQ(read_file(path_, 100).value_or(""), "two");
}

TEST_F(NewFileTest, ReplacesALinkAndNotWhatItNames) {
  ASSERT_EQ(::symlink("elsewhere", path_.c_str()), 0);
  write("one", true);
  struct stat st;
  ASSERT_EQ(::lstat(path_.c_str(), &st), 0);
  EXPECT_TRUE(S_ISREG(st.st_mode));
}

TEST_F(NewFileTest, SaysWhatItCouldNotMake) {
  Result<NewFile> file = NewFile::create(folder_.path() + "/missing/file", 0644);
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().kind(), ErrorKind::kNotFound);
  EXPECT_NE(file.error().full_message().find("/missing/file"), std::string::npos);
}

}  // namespace
}  // namespace kasane
