#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "base/process.h"
#include "net/source_cache.h"
#include "net/testing.h"

namespace kasane::net {
namespace {

using testing::Request;
using testing::Server;

// A repository over git's dumb http protocol, which any file server speaks.
class GitSourceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    sh("mkdir work sub; cd sub; git init -q -b main .; echo s >s; git add .; git commit -qm s;"
       "cd ..; git clone -q --bare sub sub.git; git -C sub.git update-server-info;"
       "cd work; git init -q -b main .; mkdir -p d/e; echo one >f; echo x >d/e/x; echo r >run;"
       "chmod 755 run; ln -s /etc out; ln -s ../.. d/up; git add .; git commit -qm one;"
       "git tag -a -m t v1; git branch old; echo two >f; git commit -qam two;"
       "printf '[submodule \"m\"]\\npath = m\\nurl = ../sub.git\\n' >.gitmodules;"
       "git checkout -qb mod; git add .gitmodules;"
       "git update-index --add --cacheinfo 160000,$(git -C ../sub rev-parse HEAD),m;"
       "git commit -qm mod; git checkout -q main; cd ..;"
       "git clone -q --bare work r.git; git -C r.git update-server-info");
    one_ = sh("git -C work rev-parse old");
    two_ = sh("git -C work rev-parse main");
  }
  std::string sh(const std::string& command) {
    ProcessOutput run = *run_process(
        {"sh", "-c", "set -e; export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=a "
                     "GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b; cd " +
                         dir_.path() + "; " + command});
    EXPECT_EQ(run.exit_status, 0) << run.err;
    while (run.out.ends_with('\n')) run.out.pop_back();
    return run.out;
  }
  std::string serve(const Request& request) {
    Result<std::string> file =
        read_file(dir_.path() + request.path.substr(0, request.path.find('?')));
    return file ? Server::response("200 OK", *file) : Server::response("404 Not Found", "");
  }
  Result<GitSource> get(const std::string& tail, bool keep = false) {
    Result<GitRef> ref = parse_git_ref(server_.url("/r.git") + tail);
    if (!ref) return ref.error();
    into_ = dir_.path() + "/out" + std::to_string(++count_);
    return cache_.git(*ref, keep, into_, {}, {});
  }
  std::string read(const GitSource& source, const std::string& path) {
    return read_file(source.directory + "/" + path).value_or("missing");
  }
  static bool there(const std::string& path) {
    struct stat st;
    return ::lstat(path.c_str(), &st) == 0;
  }

  TempDir dir_ = *TempDir::make();
  Server server_{[this](const Request& request) { return serve(request); }};
  SourceCache cache_{dir_.path() + "/cache"};
  std::string one_, two_, into_;
  int count_ = 0;
};

TEST_F(GitSourceTest, BranchTagCommitAndDefault) {
  for (const auto& [tail, commit, text] :
       std::vector<std::array<std::string, 3>>{{"", two_, "two\n"},
                                               {"#old", one_, "one\n"},
                                               {"?branch=old", one_, "one\n"},
                                               {"#v1", one_, "one\n"},
                                               {"?tag=v1", one_, "one\n"},
                                               {"#refs/heads/main", two_, "two\n"},
                                               {"#" + one_, one_, "one\n"}}) {
    Result<GitSource> source = get(tail);
    ASSERT_TRUE(source) << tail << ": " << source.error().full_message();
    EXPECT_EQ(source->commit, commit) << tail;
    EXPECT_EQ(read(*source, "f"), text) << tail;
    EXPECT_FALSE(there(source->directory + "/.git"));
    struct stat st;
    ::stat((source->directory + "/run").c_str(), &st);
    EXPECT_EQ(st.st_mode & 07777, 0755u);
    ::stat((source->directory + "/f").c_str(), &st);
    EXPECT_EQ(st.st_mode & 07777, 0644u);
  }
}

TEST_F(GitSourceTest, KnownCommitNeedsNoRequest) {
  ASSERT_TRUE(get("#" + two_));
  size_t before = server_.requests().size();
  ASSERT_TRUE(get("#" + two_));
  EXPECT_EQ(server_.requests().size(), before);
}

TEST_F(GitSourceTest, Subdirectories) {
  Result<GitSource> source = get("#main:d/e");
  ASSERT_TRUE(source) << source.error().full_message();
  EXPECT_EQ(read(*source, "x"), "x\n");
  EXPECT_EQ(get("#main:nothing").error().kind(), ErrorKind::kNotFound);
  EXPECT_FALSE(there(into_));
  for (const char* tail : {"#main:out", "#main:d/up", "#main:d/up/x", "#main:f"})
    EXPECT_EQ(get(tail).error().kind(), ErrorKind::kInvalid) << tail;
}

TEST_F(GitSourceTest, KeepsGitDirWhenAsked) {
  Result<GitSource> source = get("#v1", true);
  ASSERT_TRUE(source) << source.error().full_message();
  EXPECT_TRUE(there(source->directory + "/.git"));
  std::string log = sh("git -c safe.directory='*' -C " + source->directory + " describe --tags");
  EXPECT_EQ(log, "v1");
}

TEST_F(GitSourceTest, Submodules) {
  Result<GitSource> source = get("#mod");
  ASSERT_TRUE(source) << source.error().full_message();
  EXPECT_EQ(read(*source, "m/s"), "s\n");
  EXPECT_FALSE(there(source->directory + "/m/.git"));
  source = get("?submodules=false#mod");
  ASSERT_TRUE(source);
  EXPECT_FALSE(there(source->directory + "/m/s"));
}

TEST_F(GitSourceTest, ChecksumsAndWrongRefs) {
  EXPECT_TRUE(get("?checksum=" + one_.substr(0, 7) + "#v1"));
  EXPECT_TRUE(get("?checksum=" + two_));
  Result<GitSource> wrong = get("?checksum=" + one_ + "#main");
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().kind(), ErrorKind::kCorrupt);
  EXPECT_NE(wrong.error().message().find(two_), std::string::npos);
  EXPECT_EQ(get("#no-such").error().kind(), ErrorKind::kNotFound);
  EXPECT_EQ(get("#" + std::string(40, 'a')).error().kind(), ErrorKind::kNotFound);
}

TEST_F(GitSourceTest, CommitTimesAndCommitOnly) {
  Result<GitSource> source = get("?mtime=commit#old");
  ASSERT_TRUE(source) << source.error().full_message();
  struct stat st;
  ::stat((source->directory + "/f").c_str(), &st);
  EXPECT_EQ(std::to_string(st.st_mtime), sh("git -C work show -s --format=%ct old"));
  Result<std::string> commit = cache_.git_commit(*parse_git_ref(server_.url("/r.git#v1")), {}, {});
  ASSERT_TRUE(commit);
  EXPECT_EQ(*commit, one_);
}

TEST_F(GitSourceTest, PathsOfThisMachineAreNoRemotes) {
  for (const std::string& remote : {dir_.path() + "/r.git", "file://" + dir_.path() + "/r.git",
                                    std::string("ext::sh -c id"), std::string("--upload-pack=x")}) {
    GitRef ref;
    ref.remote = remote;
    EXPECT_EQ(cache_.git_commit(ref, {}, {}).error().kind(), ErrorKind::kInvalid) << remote;
  }
}

}  // namespace
}  // namespace kasane::net
