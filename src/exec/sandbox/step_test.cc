// What a step sees of itself: exit status, streams, identity, limits, descriptors.
#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/utsname.h>

#include <thread>

#include "exec/capabilities.h"
#include "exec/sandbox/step.h"
#include "exec/sandbox/testing.h"

namespace kasane::exec::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::UnorderedElementsAre;
using StepTest = SandboxTest;

TEST_F(StepTest, ExitStatusAndBothStreams) {
  StepResult r = sh("echo out; echo err >&2; exit 7");
  ASSERT_EQ(r.error, "") << r.hint;
  EXPECT_EQ(r.outcome.exit_status, 7);
  EXPECT_FALSE(r.outcome.signal);
  EXPECT_EQ(r.out, "out\n");
  EXPECT_EQ(r.err, "err\n");
  EXPECT_GT(r.outcome.wall_ns, 0u);
  EXPECT_GT(r.outcome.max_rss_bytes, 1000u);
}

TEST_F(StepTest, SignalsAreReported) {
  StepResult r = sh("kill -TERM $$");
  ASSERT_EQ(r.error, "");
  EXPECT_EQ(r.outcome.exit_status, 128 + SIGTERM);
  EXPECT_EQ(r.outcome.signal, SIGTERM);
}

TEST_F(StepTest, LargeOutputIsComplete) {
  StepResult r = sh("seq 200000; seq 200000 >&2");
  EXPECT_EQ(std::count(r.out.begin(), r.out.end(), '\n'), 200000);
  EXPECT_EQ(r.out, r.err);
}

TEST_F(StepTest, EnvironmentIsExactlyTheSpecAndHome) {
  ::setenv("KASANE_TEST_CANARY", "host", 1);
  RunSpec spec = shell("");
  spec.argv = {"env"};
  spec.env = {"PATH=/bin", "A=b c", "KASANE_TEST_CANARY", "=x", "*"};
  EXPECT_EQ(run(spec).out, "PATH=/bin\nA=b c\nHOME=/root\n");
  spec = shell("");
  spec.argv = {"/bin/env"};
  spec.env = {"HOME=/x"};
  EXPECT_EQ(run(spec).out, "HOME=/x\n");
  ::unsetenv("KASANE_TEST_CANARY");
}

TEST_F(StepTest, NothingOfTheBuilderCanBeRead) {
  ::setenv("KASANE_TEST_CANARY", "canary-5309", 1);
  StepResult r = sh(
      "cat /proc/*/cmdline /proc/*/environ 2>/dev/null | tr '\\0' '\\n' | grep -c -e [e]xec_test "
      "-e [c]anary-5309; cat /proc/1/environ; readlink /proc/1/exe /proc/1/cwd /proc/1/fd/*; "
      "cat /proc/1/mem; ls /proc/1/root/");
  ::unsetenv("KASANE_TEST_CANARY");
  EXPECT_EQ(r.out, "0\n");
  EXPECT_THAT(r.err, HasSubstr("ermission denied"));
}

TEST_F(StepTest, WorkingDirectoryIsEnteredAndCreated) {
  RunSpec spec = shell("pwd");
  spec.cwd = "/tmp";
  EXPECT_EQ(run(spec).out, "/tmp\n");
  spec = shell("pwd; stat -c '%a %u' .");
  spec.cwd = "/made/here";
  EXPECT_EQ(run(spec).out, "/made/here\n755 0\n");
  EXPECT_THAT(upper_listing(), UnorderedElementsAre(MatchesRegex("[do] made"), "d made/here"));
  spec = shell("pwd");
  spec.cwd = "/bin/busybox";
  EXPECT_THAT(run(spec).error, HasSubstr("/bin/busybox"));
  spec = shell("pwd");
  spec.cwd = "relative";
  EXPECT_THAT(run(spec).error, HasSubstr("not absolute"));
}

TEST_F(StepTest, UsersAndGroupsComeFromTheImage) {
  struct Case {
    const char* user;
    const char* expected;
  };
  constexpr Case kCases[] = {
      {"", "0 0 0 10 /root"},
      {"root", "0 0 0 10 /root"},
      {"node", "1000 1000 1000 10 29 /home/node"},
      {"1000", "1000 1000 1000 10 29 /home/node"},
      {"node:audio", "1000 29 29 /home/node"},
      {"4321", "4321 0 0 /"},
      {"77:88", "77 88 88 /"},
  };
  for (const Case& c : kCases) {
    RunSpec spec = shell("echo $(id -u) $(id -g) $(id -G) $HOME");
    spec.user = c.user;
    StepResult r = run(spec);
    EXPECT_EQ(r.out, std::string(c.expected) + "\n") << c.user << r.error;
  }
  for (const char* bad : {"nobody", "-1", "4294967296", "2147483648", "0x0", ":0", "root:nope"}) {
    RunSpec spec = shell("id");
    spec.user = bad;
    StepResult r = run(spec);
    EXPECT_THAT(r.error, HasSubstr(std::string("resolve user ") + bad)) << bad;
  }
}

TEST_F(StepTest, StandardStreamsCanBeOpenedAgainByTheUser) {
  RunSpec spec = shell("echo one > /dev/stdout; echo two > /dev/stderr");
  spec.user = "node";
  StepResult r = run(spec);
  EXPECT_EQ(r.out, "one\n");
  EXPECT_EQ(r.err, "two\n");
}

TEST_F(StepTest, Capabilities) {
  EXPECT_EQ(default_capabilities(), 0xa80425fbu);
  EXPECT_EQ(sh("grep ^Cap /proc/self/status").out,
            "CapInh:\t0000000000000000\nCapPrm:\t00000000a80425fb\nCapEff:\t00000000a80425fb\n"
            "CapBnd:\t00000000a80425fb\nCapAmb:\t0000000000000000\n");
  RunSpec spec = shell("grep ^Cap /proc/self/status");
  spec.user = "node";
  EXPECT_EQ(run(spec).out,
            "CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n"
            "CapBnd:\t00000000a80425fb\nCapAmb:\t0000000000000000\n");
  EXPECT_EQ(sh("grep -e ^NoNew -e ^Seccomp: /proc/self/status").out,
            "NoNewPrivs:\t0\nSeccomp:\t2\n");
}

TEST_F(StepTest, DescriptorsUmaskSignalsLimitsSession) {
  EXPECT_EQ(sh("ls /proc/$$/fd; :").out, "0\n1\n2\n");
  EXPECT_EQ(sh("readlink /proc/self/fd/0; umask").out, "/dev/null\n0022\n");
  EXPECT_EQ(sh("ulimit -c; ulimit -n").out, "0\n1024\n");
  EXPECT_EQ(sh("ps -o pid,args | head -3 | grep -c bin/sh").out, "1\n");
}

TEST_F(StepTest, BuilderThatIgnoresSignalsDoesNotPassThatOn) {
  struct sigaction ignore {};
  struct sigaction old {};
  ignore.sa_handler = SIG_IGN;
  ::sigaction(SIGPIPE, &ignore, &old);
  RunSpec spec = shell("");
  spec.argv = {"grep", "-e^SigBlk", "-e^SigIgn", "-e^SigCgt", "/proc/self/status"};
  StepResult r = run(spec);
  ::sigaction(SIGPIPE, &old, nullptr);
  EXPECT_EQ(r.out,
            "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\nSigCgt:\t0000000000000000\n");
}

TEST_F(StepTest, ProgramsThatCannotStart) {
  RunSpec spec = shell("");
  spec.argv = {"no-such-program"};
  StepResult r = run(spec);
  EXPECT_EQ(r.error, "");
  EXPECT_EQ(r.outcome.exit_status, 127);
  EXPECT_THAT(r.outcome.exec_error, HasSubstr("\"no-such-program\": executable file not found"));
  EXPECT_THAT(r.err, HasSubstr("not found in $PATH"));

  spec = shell("");
  spec.argv = {"/usr/bin/bash"};
  r = run(spec);
  EXPECT_EQ(r.outcome.exit_status, 127);
  EXPECT_THAT(r.outcome.exec_error, HasSubstr("exec form of RUN"));

  write(base_ + "/dos", "#!/bin/sh\r\necho\r\n", 0755);
  write(base_ + "/lost", "#!/opt/perl -w\n", 0755);
  write(base_ + "/plain", "echo\n", 0755);
  write(base_ + "/data", "x", 0644);
  write(base_ + "/self", "#!/proc/self/exe\n", 0755);
  struct Case {
    const char* program;
    int status;
    const char* text;
  };
  constexpr Case kCases[] = {{"/dos", 127, "Windows line endings"},
                             {"/lost", 127, "interpreter /opt/perl is not in the image"},
                             {"/plain", 126, "exec format error"},
                             {"/data", 126, "permission denied"},
                             {"/tmp", 126, "permission denied"},
                             {"/self", 126, "permission denied"},
                             {"/proc/self/exe", 126, "permission denied"},
                             {"/data/x", 127, "not a directory"}};
  for (const Case& c : kCases) {
    spec = shell("");
    spec.argv = {c.program};
    r = run(spec);
    EXPECT_EQ(r.outcome.exit_status, c.status) << c.program << r.error;
    EXPECT_THAT(r.outcome.exec_error, HasSubstr(c.text)) << c.program;
  }
}

TEST_F(StepTest, MalformedSpecsAreRefused) {
  RunSpec spec = shell("");
  spec.argv.clear();
  EXPECT_THAT(run(spec).error, HasSubstr("no program"));
  spec = shell("");
  spec.argv[2] = std::string("a\0b", 3);
  EXPECT_THAT(run(spec).error, HasSubstr("NUL"));
  spec = shell("");
  spec.hostname = std::string(65, 'h');
  EXPECT_THAT(run(spec).error, HasSubstr("64 bytes"));
}

TEST_F(StepTest, RunsFromSeveralThreadsAtOnce) {
  std::vector<RunSpec> specs;
  for (int i = 0; i < 6; ++i) specs.push_back(shell("echo " + std::to_string(i) + " > /x"));
  std::vector<StepResult> results(specs.size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < specs.size(); ++i) {
    std::string upper = specs[i].upper_dir;
    ASSERT_TRUE(make_directories(upper));
    ASSERT_TRUE(make_directories(specs[i].work_dir));
    threads.emplace_back([&, i] {
      auto outcome = executor_->run(specs[i], [](std::string_view, int) {}, {});
      results[i].error = outcome ? "" : outcome.error().full_message();
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (size_t i = 0; i < specs.size(); ++i) {
    EXPECT_EQ(results[i].error, "");
    EXPECT_EQ(slurp(specs[i].upper_dir + "/x"), std::to_string(i) + "\n");
  }
}

}  // namespace
}  // namespace kasane::exec::testing
