#include "base/process.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

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

TEST(Process, EnvironmentAndDirectoryAreTheGivenOnes) {
  ProcessOptions options;
  options.environment = {"PATH=/usr/bin:/bin", "ONLY=this"};
  options.working_directory = "/usr";
  Result<ProcessOutput> run = run_process({"sh", "-c", "echo $ONLY; pwd; echo ${HOME-none}"}, options);
  ASSERT_TRUE(run) << run.error().full_message();
  EXPECT_EQ(run->out, "this\n/usr\nnone\n");
}

TEST(Process, StopEndsTheWholeGroup) {
  std::stop_source source;
  ProcessOptions options;
  options.stop = source.get_token();
  std::jthread stopper([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    source.request_stop();
  });
  auto start = std::chrono::steady_clock::now();
  // The grandchild holds the pipes: only the group's end ends the call.
  Result<ProcessOutput> run = run_process({"sh", "-c", "sleep 60 & wait"}, options);
  ASSERT_FALSE(run);
  EXPECT_EQ(run.error().kind(), ErrorKind::kCancelled);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
  EXPECT_EQ(run_process({"true"}, options).error().kind(), ErrorKind::kCancelled);
}

TEST(Process, StopKillsWhatIgnoresTerm) {
  std::stop_source source;
  ProcessOptions options;
  options.stop = source.get_token();
  std::jthread stopper([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    source.request_stop();
  });
  Result<ProcessOutput> run = run_process({"sh", "-c", "trap '' TERM; while :; do sleep 1; done"}, options);
  EXPECT_EQ(run.error().kind(), ErrorKind::kCancelled);
}

}  // namespace
}  // namespace kasane
