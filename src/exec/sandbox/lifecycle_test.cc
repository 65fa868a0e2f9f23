// Processes: background children, cancellation, death of the builder, network, filter.
#include <dirent.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include "exec/sandbox/testing.h"

namespace kasane::exec::testing {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using LifecycleTest = SandboxTest;

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Processes of this machine whose command line holds `mark`.
int processes_with(const std::string& mark) {
  int count = 0;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    if (!std::isdigit(static_cast<unsigned char>(entry.path().filename().string()[0]))) continue;
    auto line = read_file(entry.path() / "cmdline");
    count += line && has(*line, mark) ? 1 : 0;
  }
  return count;
}

bool eventually(const std::function<bool()>& condition) {
  for (int i = 0; i < 300; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return false;
}

TEST_F(LifecycleTest, BackgroundChildrenDoNotHoldTheStep) {
  for (const char* script : {"sleep 98761 & echo done", "sleep 98761 >/dev/null 2>&1 & echo done",
                             "setsid sleep 98761 & echo done",
                             "(setsid sh -c 'sleep 98761 & sleep 98761' &) ; echo done"}) {
    auto start = Clock::now();
    StepResult r = sh(script);
    EXPECT_EQ(r.out, "done\n") << r.error;
    EXPECT_EQ(r.outcome.exit_status, 0);
    EXPECT_LT(seconds_since(start), 5.0) << script;  // 1 s on an idle machine
    EXPECT_EQ(processes_with("98761"), 0) << script;
  }
}

TEST_F(LifecycleTest, OrphansAreReapedAndTheStatusIsTheSteps) {
  StepResult r = sh("for i in 1 2 3 4 5; do (sh -c 'exit 9' &); done; sleep 0.1; exit 3");
  EXPECT_EQ(r.outcome.exit_status, 3);
}

TEST_F(LifecycleTest, StopKillsTheTree) {
  std::stop_source stop;
  RunSpec spec = shell("sleep 87651 & sleep 87651");
  std::thread stopper([&] {
    eventually([] { return processes_with("87651") >= 2; });
    stop.request_stop();
  });
  StepResult r = run(spec, stop.get_token());
  stopper.join();
  EXPECT_TRUE(has(r.error, "stopped")) << r.error;
  EXPECT_EQ(processes_with("87651"), 0);
  EXPECT_TRUE(has(run(shell("true"), stop.get_token()).error, "stopped"));
}

TEST_F(LifecycleTest, KillingTheBuilderLeavesNothing) {
  RunSpec spec = shell("(setsid sleep 76543 &); sleep 76543");
  ASSERT_TRUE(make_directories(spec.upper_dir));
  ASSERT_TRUE(make_directories(spec.work_dir));
  std::string mounts = slurp("/proc/self/mountinfo");
  pid_t builder = ::fork();
  if (builder == 0) {
    (void)executor_->run(spec, [](std::string_view, int) {}, {});
    ::_exit(0);
  }
  ASSERT_TRUE(eventually([] { return processes_with("76543") >= 2; }));
  ::kill(builder, SIGKILL);
  ::waitpid(builder, nullptr, 0);
  EXPECT_TRUE(eventually([] { return processes_with("76543") == 0; }));
  EXPECT_FALSE(has(slurp("/proc/self/mountinfo"), spec.upper_dir));
}

TEST_F(LifecycleTest, RandomMomentsOfDeathLeaveNothing) {
  for (int i = 0; i < 24; ++i) {
    RunSpec spec = shell("sleep 65431 & sleep 65431");
    ASSERT_TRUE(make_directories(spec.upper_dir));
    ASSERT_TRUE(make_directories(spec.work_dir));
    pid_t builder = ::fork();
    if (builder == 0) {
      (void)executor_->run(spec, [](std::string_view, int) {}, {});
      ::_exit(0);
    }
    std::this_thread::sleep_for(std::chrono::microseconds(2500 * i));
    ::kill(builder, SIGKILL);
    ::waitpid(builder, nullptr, 0);
  }
  EXPECT_TRUE(eventually([] { return processes_with("65431") == 0; }));
  EXPECT_FALSE(has(slurp("/proc/self/mountinfo"), path("upper")));
}

TEST_F(LifecycleTest, NetworkNoneHasOnlyLoopback) {
  RunSpec spec = shell("ls /sys/class/net; ifconfig lo | grep -c 'UP LOOPBACK'");
  spec.network = Network::kNone;
  EXPECT_EQ(run(spec).out, "lo\n1\n");
}

TEST_F(LifecycleTest, ForbiddenCallsAreForbidden) {
  EXPECT_TRUE(has(sh("unshare -U true").err, "Operation not permitted"));
  EXPECT_TRUE(has(sh("unshare -m true").err, "Operation not permitted"));
  EXPECT_TRUE(has(sh("mount -t tmpfs x /tmp").err, "ermission denied") ||
              has(sh("mount -t tmpfs x /tmp").err, "not permitted"));
  EXPECT_TRUE(has(sh("umount /proc").err, "not permitted"));
  EXPECT_TRUE(has(sh("hostname other").err, "not permitted"));
}

// A static C program prints one errno per line; compared with the table of section 4.
TEST_F(LifecycleTest, FilterAnswersAsDockers) {
  write(path("probe.c"),
        "#define _GNU_SOURCE\n#include <errno.h>\n#include <stdio.h>\n#include <sched.h>\n"
        "#include <sys/socket.h>\n#include <sys/syscall.h>\n#include <unistd.h>\n"
        "#define T(n, e) do { errno = 0; long r = (e); printf(n \" %d\\n\", r < 0 ? errno : 0); "
        "} while (0)\n"
        "int main(void) {\n"
        "  T(\"alg\", socket(38, SOCK_SEQPACKET, 0));\n"
        "  T(\"vsock\", socket(40, SOCK_STREAM, 0));\n"
        "  T(\"alg-high\", syscall(SYS_socket, 38 | (1L << 32), SOCK_SEQPACKET, 0));\n"
        "  T(\"unix\", socket(1, SOCK_STREAM, 0));\n"
        "  T(\"clone3\", syscall(435, 0, 0));\n"
        "  T(\"newuser\", syscall(SYS_clone, 0x10000000 | 17, 0, 0, 0, 0) );\n"
        "  T(\"keyctl\", syscall(SYS_keyctl, 0, 0, 0));\n"
        "  T(\"bpf\", syscall(SYS_bpf, 0, 0, 0));\n"
        "  T(\"io_uring\", syscall(425, 1, 0));\n"
        "  T(\"userfaultfd\", syscall(SYS_userfaultfd, 0));\n"
        "  T(\"personality\", syscall(SYS_personality, 0xffffffff));\n"
        "  T(\"personality-x\", syscall(SYS_personality, 0x40000));\n"
        "  T(\"future\", syscall(1000));\n"
        "  T(\"getpid\", getpid());\n"
        "  return 0;\n}\n");
  std::string command =
      "cc -static -o " + base_ + "/probe " + path("probe.c") + " 2>" + path("cc.log");
  if (std::system(command.c_str()) != 0) GTEST_SKIP() << "no C compiler";
  RunSpec spec = shell("");
  spec.argv = {"/probe"};
  // What libseccomp cannot say is "unknown" in a runtime's profile (seccomp_profile.h).
  std::string personality = with_oci_runtime() ? "38" : "1";
  EXPECT_EQ(
      run(spec).out,
      "alg 1\nvsock 1\nalg-high 1\nunix 0\nclone3 38\nnewuser 1\nkeyctl 1\nbpf 1\nio_uring 1\n"
      "userfaultfd 1\npersonality 0\npersonality-x " +
          personality + "\nfuture 38\ngetpid 0\n");
}

}  // namespace
}  // namespace kasane::exec::testing
