#include "base/fd.h"

#include <gtest/gtest.h>
#include <unistd.h>

namespace kasane {
namespace {

class FdTest : public ::testing::Test {
 protected:
  std::string at(const std::string& name) const { return dir_.path() + "/" + name; }
  TempDir dir_ = TempDir::make("kasane-fd-test").take();
};

TEST_F(FdTest, UniqueFdCloses) {
  UniqueFd fd = open_file("/dev/null", O_RDONLY).take();
  const int raw = fd.get();
  EXPECT_TRUE(::fcntl(raw, F_GETFD) & FD_CLOEXEC);
  UniqueFd moved = std::move(fd);
  EXPECT_FALSE(fd);
  moved.reset();
  EXPECT_EQ(::fcntl(raw, F_GETFD), -1);
}

TEST_F(FdTest, ReplaceAndRead) {
  ASSERT_TRUE(replace_file(at("a"), "one", 0600));
  ASSERT_TRUE(replace_file(at("a"), "two", 0600));
  EXPECT_EQ(read_file(at("a")).value(), "two");
  struct stat st;
  ASSERT_EQ(::stat(at("a").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0600u);
  EXPECT_EQ(read_file(at("a"), 2).error().kind(), ErrorKind::kLimit);
  EXPECT_EQ(read_file(at("missing")).error().kind(), ErrorKind::kNotFound);
  EXPECT_EQ(read_file(dir_.path()).error().kind(), ErrorKind::kInvalid);
}

// X15: a FIFO must not hang the reader.
TEST_F(FdTest, FifoIsRefused) {
  ASSERT_EQ(::mkfifo(at("fifo").c_str(), 0600), 0);
  EXPECT_EQ(read_file(at("fifo")).error().kind(), ErrorKind::kInvalid);
}

TEST_F(FdTest, InRootNeverLeaves) {
  ASSERT_TRUE(make_directories(at("root/etc")));
  ASSERT_TRUE(replace_file(at("secret"), "host"));
  ASSERT_TRUE(replace_file(at("root/etc/x"), "image"));
  ASSERT_EQ(::symlink("../../../secret", at("root/up").c_str()), 0);
  ASSERT_EQ(::symlink("/etc/x", at("root/absolute").c_str()), 0);
  ASSERT_EQ(::symlink("loop", at("root/loop").c_str()), 0);
  UniqueFd root = open_file(at("root"), O_PATH | O_DIRECTORY).take();
  EXPECT_EQ(read_file_in_root(root.get(), "absolute", 100).value(), "image");
  EXPECT_EQ(read_file_in_root(root.get(), "/etc/../../../etc/x", 100).value(), "image");
  EXPECT_FALSE(read_file_in_root(root.get(), "up", 100));
  EXPECT_FALSE(read_file_in_root(root.get(), "loop", 100));
}

TEST_F(FdTest, RenameNoreplace) {
  ASSERT_TRUE(replace_file(at("a"), "1"));
  ASSERT_TRUE(replace_file(at("b"), "2"));
  EXPECT_EQ(rename_noreplace(at("a"), at("b")).error().kind(), ErrorKind::kConflict);
  EXPECT_TRUE(rename_noreplace(at("a"), at("c")));
}

TEST_F(FdTest, MakeDirectories) {
  EXPECT_TRUE(make_directories(at("x/y/z")));
  EXPECT_TRUE(make_directories(at("x/y/z")));
  ASSERT_TRUE(replace_file(at("file"), ""));
  EXPECT_FALSE(make_directories(at("file")));
}

TEST_F(FdTest, RemoveTree) {
  ASSERT_TRUE(make_directories(at("keep")));
  ASSERT_TRUE(replace_file(at("keep/me"), ""));
  ASSERT_TRUE(make_directories(at("tree/closed/deep")));
  ASSERT_EQ(::symlink("../keep", at("tree/link").c_str()), 0);
  ASSERT_EQ(::chmod(at("tree/closed").c_str(), 0), 0);
  EXPECT_TRUE(remove_tree(at("tree")));
  EXPECT_EQ(::access(at("tree").c_str(), F_OK), -1);
  EXPECT_EQ(::access(at("keep/me").c_str(), F_OK), 0);
  EXPECT_TRUE(remove_tree(at("tree"))) << "missing is fine";
}

// Deeper than PATH_MAX and than the usual limit of open files.
TEST_F(FdTest, RemoveDeepTree) {
  UniqueFd at_fd = open_file(dir_.path(), O_PATH | O_DIRECTORY).take();
  for (int i = 0; i < 1100; ++i) {
    ASSERT_EQ(::mkdirat(at_fd.get(), "deep-tree", 0755), 0);
    at_fd = open_at(at_fd.get(), "deep-tree", O_PATH | O_DIRECTORY).take();
  }
  Result<void> removed = remove_tree(at("deep-tree"));
  EXPECT_TRUE(removed) << removed.error().full_message();
}

TEST_F(FdTest, TempDirIsDeleted) {
  std::string path;
  {
    TempDir inner = TempDir::make().take();
    path = inner.path();
    ASSERT_TRUE(replace_file(path + "/x", "y"));
  }
  EXPECT_EQ(::access(path.c_str(), F_OK), -1);
}

}  // namespace
}  // namespace kasane
