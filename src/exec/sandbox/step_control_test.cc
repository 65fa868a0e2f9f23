// What the builder can do to a running step: end it, signal it, feed it, limit it.
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <sstream>
#include <thread>

#include "exec/sandbox/step_group.h"
#include "exec/sandbox/testing.h"

namespace kasane::exec::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

void ignore_signal(int) {}

class StepControlTest : public SandboxTest {
 protected:
  void SetUp() override {
    ::signal(SIGPIPE, ignore_signal);  // as the program does
    SandboxTest::SetUp();
  }

  // Runs while `act` is done on another thread as soon as the step has said "ready".
  StepResult run_and(const RunSpec& spec, const std::function<void()>& act,
                     std::stop_token stop = {}) {
    fs::create_directories(spec.upper_dir);
    fs::create_directories(spec.work_dir);
    StepResult result;
    std::thread actor;
    auto start = Clock::now();
    auto outcome = executor_->run(
        spec,
        [&](std::string_view bytes, int stream) {
          (stream == 1 ? result.out : result.err) += bytes;
          if (!actor.joinable() && result.out.find("ready") != std::string::npos)
            actor = std::thread([&] {
              start = Clock::now();
              act();
            });
        },
        std::move(stop));
    if (actor.joinable()) actor.join();
    seconds_ = std::chrono::duration<double>(Clock::now() - start).count();
    if (outcome)
      result.outcome = *outcome;
    else
      result.error = outcome.error().full_message();
    return result;
  }

  double seconds_ = 0;  // from the action to the end
};

constexpr const char* kStubborn = "trap '' TERM INT HUP; echo ready; while :; do sleep 1; done";

TEST_F(StepControlTest, StopAsksEveryProcessToEnd) {
  std::stop_source stop;
  StepResult r = run_and(
      shell("trap 'echo parent; wait; exit 0' TERM; sh -c 'trap \"echo child; "
            "exit\" TERM; echo ready; while :; do sleep 0.1; done' & wait"),
      [&] { stop.request_stop(); }, stop.get_token());
  EXPECT_THAT(r.error, HasSubstr("stopped"));
  EXPECT_THAT(r.out, HasSubstr("child\n"));
  EXPECT_THAT(r.out, HasSubstr("parent\n"));
  EXPECT_LT(seconds_, 4.0);
}

TEST_F(StepControlTest, WhoeverIgnoresThatIsKilledAfterTheGrace) {
  std::stop_source stop;
  StepResult r = run_and(
      shell(kStubborn), [&] { stop.request_stop(); }, stop.get_token());
  EXPECT_THAT(r.error, HasSubstr("stopped"));
  EXPECT_GE(seconds_, 4.5);
  EXPECT_LT(seconds_, 7.0);
}

TEST_F(StepControlTest, KillNeedsNoGrace) {
  std::stop_source stop, kill;
  RunSpec spec = shell(kStubborn);
  spec.kill = kill.get_token();
  StepResult r = run_and(
      spec,
      [&] {
        stop.request_stop();
        kill.request_stop();
      },
      stop.get_token());
  EXPECT_THAT(r.error, HasSubstr("stopped"));
  EXPECT_LT(seconds_, 2.0);
  std::stop_source only_kill;
  spec = shell(kStubborn);
  spec.kill = only_kill.get_token();
  r = run_and(spec, [&] { only_kill.request_stop(); });
  EXPECT_THAT(r.error, HasSubstr("stopped"));
  EXPECT_LT(seconds_, 2.0);
}

TEST_F(StepControlTest, TheTimeLimitEndsTheStepAndKeepsWhatItDid) {
  RunSpec spec = shell("echo kept > /file; sleep 100 & sleep 100");
  spec.time_limit_ns = 300'000'000;
  StepResult r = run(spec);
  EXPECT_EQ(r.error, "");
  EXPECT_TRUE(r.outcome.timed_out);
  EXPECT_EQ(r.outcome.signal, SIGTERM);
  EXPECT_THAT(upper_listing(), ::testing::ElementsAre("f file"));
  spec = shell("trap '' TERM; sleep 100");
  spec.time_limit_ns = 1'000'000'000;
  r = run(spec);
  EXPECT_TRUE(r.outcome.timed_out);
  EXPECT_LT(r.outcome.wall_ns, 9'000'000'000u);
  EXPECT_GT(r.outcome.wall_ns, 5'500'000'000u);
  spec = shell("true");
  spec.time_limit_ns = 60'000'000'000;
  EXPECT_FALSE(run(spec).outcome.timed_out);
}

// Whatever the builder ignores or blocks, the step starts clean.
TEST_F(StepControlTest, SignalsHaveTheirDefaultActions) {
  RunSpec spec = shell("");
  spec.argv = {"/bin/grep", "^Sig[BIC]", "/proc/self/status"};
  fs::create_directories(spec.upper_dir);
  fs::create_directories(spec.work_dir);
  std::string text;
  std::thread([&] {  // with a mask of its own
    struct sigaction old_pipe, old_user, ignore = {};
    ignore.sa_handler = SIG_IGN;
    ::sigaction(SIGPIPE, &ignore, &old_pipe);
    ::sigaction(SIGUSR1, &ignore, &old_user);
    sigset_t blocked;
    sigfillset(&blocked);
    ::pthread_sigmask(SIG_BLOCK, &blocked, nullptr);
    auto outcome = executor_->run(spec, [&](std::string_view bytes, int) { text += bytes; }, {});
    ::sigaction(SIGPIPE, &old_pipe, nullptr);
    ::sigaction(SIGUSR1, &old_user, nullptr);
  })
      .join();
  EXPECT_EQ(text,
            "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\nSigCgt:\t0000000000000000\n");
}

TEST_F(StepControlTest, SignalsReachTheProgramOnly) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  RunSpec spec = shell(
      "sh -c 'trap \"echo child\" USR1; while :; do sleep 0.1; done' &"
      "trap 'echo got usr1' USR1; trap 'echo got hup; exit 7' HUP; sleep 0.3; echo ready;"
      "while :; do sleep 0.1; done");
  spec.signal_fd = ends[0];
  StepResult r = run_and(spec, [&] {
    for (uint8_t number : {SIGUSR1, SIGHUP}) {
      ASSERT_EQ(::write(ends[1], &number, 1), 1);
      std::this_thread::sleep_for(std::chrono::milliseconds(400));
    }
  });
  EXPECT_EQ(r.out, "ready\ngot usr1\ngot hup\n") << r.error;
  EXPECT_EQ(r.outcome.exit_status, 7);
  ::close(ends[0]);
  ::close(ends[1]);
}

// Whoever reads the output may be asleep; signals and requests reach the step all the same.
TEST_F(StepControlTest, BlockedOutputHoldsNoSignal) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  std::stop_source stop;
  RunSpec spec = shell(
      "trap 'echo > /usr1' USR1; trap 'echo > /term; exit' TERM; echo ready; "
      "while :; do sleep 0.05; done");
  spec.signal_fd = ends[0];
  fs::create_directories(spec.upper_dir);
  fs::create_directories(spec.work_dir);
  bool got_signal = false, got_term = false;
  auto appears = [&](const char* name) {
    for (int i = 0; i < 100 && !fs::exists(spec.upper_dir + name); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    return fs::exists(spec.upper_dir + name);
  };
  auto outcome = executor_->run(
      spec,
      [&](std::string_view, int) {
        const uint8_t number = SIGUSR1;
        EXPECT_EQ(::write(ends[1], &number, 1), 1);
        got_signal = appears("/usr1");
        stop.request_stop();
        got_term = appears("/term");
      },
      stop.get_token());
  EXPECT_TRUE(got_signal);
  EXPECT_TRUE(got_term);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().kind(), ErrorKind::kCancelled);
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST_F(StepControlTest, InputIsRelayedToItsEnd) {
  std::string path_of_input = path("input");
  write(path_of_input, std::string(300000, 'x') + "\nend\n");
  auto input = open_file(path_of_input, O_RDONLY);
  ASSERT_TRUE(input);
  RunSpec spec = shell("readlink /proc/self/fd/0 | cut -c1-5 2>/dev/null; wc -c; cat");
  spec.stdin_fd = input->get();
  StepResult r = run(spec);
  EXPECT_THAT(r.out, HasSubstr("300005")) << r.err;
  // A program that reads a part only.
  ASSERT_EQ(::lseek(input->get(), 0, SEEK_SET), 0);
  spec = shell("head -c 3; exec 0<&-; sleep 0.1; exit 4");
  spec.stdin_fd = input->get();
  r = run(spec);
  EXPECT_EQ(r.out, "xxx");
  EXPECT_EQ(r.outcome.exit_status, 4);
  // Input that never comes does not hold the step.
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  spec = shell("exit 6");
  spec.stdin_fd = ends[0];
  EXPECT_EQ(run(spec).outcome.exit_status, 6);
  ::close(ends[0]);
  ::close(ends[1]);
  EXPECT_EQ(sh("cat; readlink /proc/self/fd/0").out, "/dev/null\n");
}

TEST_F(StepControlTest, FilesAreLimitedAsInDocker) {
  rlimit ours;
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &ours), 0);
  uint64_t hard = std::min<uint64_t>(ours.rlim_max, 1048576);
  EXPECT_EQ(sh("ulimit -Sn; ulimit -Hn").out,
            std::to_string(std::min<uint64_t>(hard, 1024)) + "\n" + std::to_string(hard) + "\n");
}

TEST_F(StepControlTest, ProcessesAreLimited) {
  RunSpec spec = shell("for i in $(seq 40); do sleep 5 & done; exit 3");
  spec.pids_limit = 16;
  spec.pids_limit_asked = true;
  StepResult r = run(spec);
  if (!r.outcome.limit_note.empty()) GTEST_SKIP() << r.outcome.limit_note;
  EXPECT_TRUE(r.outcome.out_of_pids);
  EXPECT_NE(r.outcome.exit_status, 0);
  EXPECT_THAT(r.err, HasSubstr("fork"));
  spec = shell("cat /proc/self/cgroup");
  EXPECT_THAT(run(spec).out, HasSubstr("pids:/\n"));  // nothing of ours shows
  spec = shell("for i in $(seq 40); do sleep 1 & done; exit 3");
  spec.pids_limit = 0;
  r = run(spec);
  EXPECT_FALSE(r.outcome.out_of_pids);
  EXPECT_EQ(r.outcome.exit_status, 3);
}

// Groups of this test program, by the names of their directories.
std::vector<std::string> groups_left() {
  std::vector<std::string> found;
  std::error_code error;
  for (const char* root : {"/sys/fs/cgroup"})
    for (auto it = fs::recursive_directory_iterator(root, error); it != fs::end(it);
         it.increment(error))
      if (it->path().filename().string().starts_with("kasane-")) found.push_back(it->path());
  return found;
}

TEST_F(StepControlTest, GroupsGoWithTheStepAndWithTheBuilder) {
  StepGroup::Notes notes;
  {
    StepGroup group = StepGroup::make({64 << 20, 100}, notes);
    if (group.places().empty()) GTEST_SKIP() << notes.memory << notes.pids;
    for (const auto& place : group.places()) EXPECT_TRUE(fs::exists(place.path()));
  }
  std::vector<std::string> before = groups_left();
  EXPECT_EQ(sh("true").outcome.exit_status, 0);
  for (int i = 0; i < 12; ++i) {
    RunSpec spec = shell("trap '' TERM INT HUP; (setsid sleep 300 &); sleep 300");
    spec.memory_limit_bytes = 256 << 20;
    fs::create_directories(spec.upper_dir);
    fs::create_directories(spec.work_dir);
    pid_t builder = ::fork();
    if (builder == 0) {
      (void)executor_->run(spec, [](std::string_view, int) {}, {});
      ::_exit(0);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20 + 10 * i));
    ::kill(builder, SIGKILL);
    ::waitpid(builder, nullptr, 0);
  }
  std::vector<std::string> left;
  for (int i = 0; i < 100; ++i) {
    left.clear();
    std::vector<std::string> now = groups_left();
    for (const std::string& path : now)
      if (std::find(before.begin(), before.end(), path) == before.end()) left.push_back(path);
    if (left.empty()) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  EXPECT_THAT(left, IsEmpty());
}

TEST_F(StepControlTest, GroupsThatAKilledBuilderLeftAreSwept) {
  StepGroup::Notes notes;
  StepGroup mine = StepGroup::make({0, 100}, notes);
  if (mine.places().empty()) GTEST_SKIP() << notes.pids;
  std::string stale = mine.places().front().parent + "/kasane-stale0";
  ASSERT_TRUE(fs::create_directory(stale));
  StepGroup other = StepGroup::make({0, 100}, notes);
  EXPECT_FALSE(fs::exists(stale));
  EXPECT_TRUE(fs::exists(mine.places().front().path()));  // in use
}

}  // namespace
}  // namespace kasane::exec::testing
