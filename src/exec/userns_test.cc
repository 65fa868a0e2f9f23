#include "exec/userns.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"

namespace kasane::exec {
namespace {

using Ranges = std::vector<IdRange>;

TEST(SubordinateIds, TakesTheUsersRangesInOrder) {
  EXPECT_EQ(parse_subordinate_ids("a:1000000:65536\nbob:200000:65536\n1000:400000:10\n", "bob",
                                  1000, 1000),
            (Ranges{{0, 1000, 1}, {1, 200000, 65536}, {65537, 400000, 10}}));
  EXPECT_EQ(parse_subordinate_ids("", "bob", 1000, 1000), (Ranges{{0, 1000, 1}}));
}

TEST(SubordinateIds, SkipsWhatTheKernelWouldRefuse) {
  EXPECT_EQ(parse_subordinate_ids("bob:x:1\nbob:1:0\nbob\nbob::\nbob:1:2:3\nbob:-5:9\n:5:6\n"
                                  "bob:4294967295:2\nbob:900:200\nbob:5000:10\nbob:5005:10\n",
                                  "bob", 1000, 1000),
            (Ranges{{0, 1000, 1}, {1, 5000, 10}}));
  std::string many;
  for (int i = 0; i < 2000; ++i) many += "bob:" + std::to_string(100000 + i * 10) + ":5\n";
  EXPECT_EQ(parse_subordinate_ids(many, "bob", 1000, 1000).size(), 300u);
}

// Runs `body` in a child with the given ids; true when it returned 0.
bool as_user(uid_t uid, const std::function<int()>& body) {
  pid_t pid = ::fork();
  if (pid == 0) {
    if (::setgid(uid) != 0 || ::setuid(uid) != 0) ::_exit(99);
    ::prctl(PR_SET_DUMPABLE, 1);  // as after exec: /proc/self belongs to the user
    ::_exit(body());
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

TEST(MappedUserns, ReturnsTheValueOfTheFunction) {
  auto result = run_in_mapped_userns([] { return ::geteuid() == 0 ? 42 : 1; });
  ASSERT_TRUE(result) << result.error().full_message();
  EXPECT_EQ(*result, 42);
  auto killed = run_in_mapped_userns([] { return ::raise(SIGKILL); });
  ASSERT_TRUE(killed);
  EXPECT_EQ(*killed, 128 + SIGKILL);
}

TEST(MappedUserns, SingleIdWithoutARange) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to become another user";
  if (!as_user(65534, [] { return ::unshare(CLONE_NEWUSER); }))
    GTEST_SKIP() << "plain users may not make user namespaces here (a chroot?)";
  EXPECT_TRUE(as_user(65534, [] {
    if (!load_id_maps().single) return 2;
    auto result = run_in_mapped_userns([] { return ::geteuid() == 0 && ::getegid() == 0 ? 7 : 1; });
    return result && *result == 7 ? 0 : 1;
  }));
}

}  // namespace
}  // namespace kasane::exec
