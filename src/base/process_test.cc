#include "base/process.h"

#include <gtest/gtest.h>

namespace kasane {
namespace {

TEST(Process, OutputAndStatus) {
  Result<ProcessOutput> run = run_process({"sh", "-c", "echo out; echo err >&2; exit 3"});
  ASSERT_TRUE(run) << run.error().full_message();
  EXPECT_EQ(run->out, "out\n");
  EXPECT_EQ(run->err, "err\n");
  EXPECT_EQ(run->exit_status, 3);
}

TEST(Process, SignalBecomes128PlusN) {
  EXPECT_EQ(run_process({"sh", "-c", "kill -9 $$"})->exit_status, 137);
}

TEST(Process, MissingProgramIsNotFound) {
  EXPECT_EQ(run_process({"kasane-no-such-program"}).error().kind(), ErrorKind::kNotFound);
}

TEST(Process, ArgumentsSeeNoShellAndStdinIsEmpty) {
  EXPECT_EQ(run_process({"printf", "%s", "$HOME;*"})->out, "$HOME;*");
  EXPECT_EQ(run_process({"cat"})->out, "");
}

TEST(Process, BothStreamsMayBeLarge) {
  Result<ProcessOutput> run =
      run_process({"sh", "-c", "head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2"});
  ASSERT_TRUE(run);
  EXPECT_EQ(run->out.size(), 300000u);
  EXPECT_EQ(run->err.size(), 300000u);
}

TEST(Process, OutputIsCapped) {
  EXPECT_EQ(run_process({"sh", "-c", "yes | head -c 100000"}, 1000).error().kind(),
            ErrorKind::kLimit);
}

}  // namespace
}  // namespace kasane
