#include "net/git_ref.h"

#include <gtest/gtest.h>

namespace kasane::net {
namespace {

struct Good {
  const char* text;
  const char* remote;
  const char* ref = "";
  const char* subdir = "";
};

TEST(GitRef, GoodForms) {
  for (const Good& good : std::initializer_list<Good>{
           {"https://e.com/foo.git", "https://e.com/foo.git"},
           {"http://e.com/foo.git", "http://e.com/foo.git"},
           {"HTTPS://e.com/foo.git", "https://e.com/foo.git"},
           {"https://e.com/foo.git#deadbeef", "https://e.com/foo.git", "deadbeef"},
           {"https://e.com/foo.git#release/1.2", "https://e.com/foo.git", "release/1.2"},
           {"git://e.com/foo", "git://e.com/foo"},
           {"ssh://git@e.com:22/foo", "ssh://git@e.com:22/foo"},
           {"github.com/moby/buildkit", "https://github.com/moby/buildkit"},
           {"github.com/moby/buildkit#master", "https://github.com/moby/buildkit", "master"},
           {"github.com/moby/buildkit?tag=v1", "https://github.com/moby/buildkit", "refs/tags/v1"},
           {"https://a:b@e.com/m/b.git", "https://a:b@e.com/m/b.git"},
           {"git@github.com:moby/buildkit", "git@github.com:moby/buildkit"},
           {"git@github.com:moby/buildkit.git#v1:d", "git@github.com:moby/buildkit.git", "v1", "d"},
           {"git@h:p?subdir=/s#v1", "git@h:p", "v1", "s"},
           {"https://e.com/b.git#baz/qux:quux/quuz", "https://e.com/b.git", "baz/qux", "quux/quuz"},
           {"https://e.com/b.git#:my", "https://e.com/b.git", "", "my"},
           {"https://e.com/b.git#:/a/./b//", "https://e.com/b.git", "", "a/b"},
           {"https://e.com/b.git#:a/../b", "https://e.com/b.git", "", "b"},
           {"https://e.com/b.git#a%2Fb", "https://e.com/b.git", "a/b"},
           {"https://e.com/b.git?ref=v1&subdir=/s", "https://e.com/b.git", "v1", "s"},
           {"https://e.com/b.git?branch=v1.0", "https://e.com/b.git", "refs/heads/v1.0"},
           {"https://e.com/b.git?tag=refs/tags/v1", "https://e.com/b.git", "refs/tags/v1"},
           {"https://e.com/b.git?ref=v1#v1", "https://e.com/b.git", "v1"}}) {
    EXPECT_TRUE(looks_like_git_context(good.text)) << good.text;
    Result<GitRef> ref = parse_git_ref(good.text);
    ASSERT_TRUE(ref) << good.text << ": " << ref.error().full_message();
    EXPECT_EQ(ref->remote, good.remote);
    EXPECT_EQ(ref->ref, good.ref) << good.text;
    EXPECT_EQ(ref->subdir, good.subdir) << good.text;
  }
}

TEST(GitRef, OtherThings) {
  for (const char* text : {"https://e.com/", "https://e.com/foo", "https://e.com/foo.git/", "",
                           "https://e.com/foo.git.bar", "custom.xyz/moby/buildkit.git", ".git",
                           "./.git", "../x.git", "http://e.com/docker.git:#branch", "a/b@c:d",
                           "file:///x.git", "ext::sh", "ftp://e.com/x.git", "@h:p"}) {
    EXPECT_FALSE(looks_like_git_context(text)) << text;
    EXPECT_FALSE(parse_git_ref(text)) << text;
  }
  EXPECT_FALSE(looks_like_git("github.com/a/b"));
}

TEST(GitRef, BadForms) {
  for (const char* tail :
       {"?ref=a#b", "?ref=a&tag=b", "?tag=a&branch=b", "?ref=a&ref=a", "?invalid=1", "?mtime=x",
        "?submodules=x", "?ref=", "?checksum=xyz", "?checksum=abc", "?checksum=a&commit=b",
        "#:../x", "#:a/../../x", "?subdir=a#:b", "#-x", "#a..b", "#a b", "#a*", "#%zz", "#a%00",
        "?fetch-by-commit=maybe", "#:.git", "#@{u}", "#x.lock"})
    EXPECT_EQ(parse_git_ref(std::string("https://e.com/b.git") + tail).error().kind(),
              ErrorKind::kInvalid)
        << tail;
  for (const char* text : {"ssh://-oProxyCommand=x/p", "git@h:-p", "-u@h:p", "git@-h:p", "ssh://h/-p",
                           "ssh:///p", "git@h:", "git://h\n/p"})
    EXPECT_FALSE(parse_git_ref(text)) << text;
}

TEST(GitRef, Switches) {
  GitRef ref = *parse_git_ref(
      "https://e.com/b.git?fetch-by-commit&commit=DEADBEEF&keep-git-dir&submodules=0&mtime=commit");
  EXPECT_TRUE(ref.fetch_by_commit && ref.commit_times && !ref.submodules);
  EXPECT_EQ(ref.keep_git_dir, true);
  EXPECT_EQ(ref.checksum, "deadbeef");
  EXPECT_EQ(ref.name(), "b");
  EXPECT_TRUE(parse_git_ref("https://e.com/b.git?tag=x")->is_tag);
}

}  // namespace
}  // namespace kasane::net
