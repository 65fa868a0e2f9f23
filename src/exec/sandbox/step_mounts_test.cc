// Every kind of mount of a step, what it leaves behind, and the options of a step.
#include <gmock/gmock.h>
#include <poll.h>
#include <pty.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "exec/sandbox/testing.h"

namespace kasane::exec::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class StepMountsTest : public SandboxTest {
 protected:
  Mount at(Mount::Type type, const std::string& target) {
    Mount mount;
    mount.type = type;
    mount.target = target;
    return mount;
  }
  Mount view(const std::string& target, const std::string& sub_path = "") {
    Mount mount = at(Mount::Type::kOverlay, target);
    mount.lower_trees = {path("one"), path("two")};
    mount.sub_path = sub_path;
    return mount;
  }
  Mount writable(Mount mount, const std::string& name) {
    mount.read_only = false;
    mount.upper_dir = path(name);
    mount.work_dir = path(name + "-work");
    fs::create_directories(mount.upper_dir);
    fs::create_directories(mount.work_dir);
    return mount;
  }
  void make_trees() {
    write(path("one") + "/dir/low", "low");
    write(path("one") + "/dir/both", "one");
    write(path("two") + "/dir/both", "two");
    fs::create_symlink("/dir", path("two") + "/link");
    fs::create_symlink("../../../../../../etc", path("two") + "/out");
  }
};

TEST_F(StepMountsTest, ViewsOfTreesAreMergedAndReadOnly) {
  make_trees();
  struct stat before, after;
  RunSpec spec = shell("cat /a/b/dir/low /a/b/dir/both /sub/low /l/both /f; echo x > /a/b/new");
  ASSERT_EQ(::stat(base_.c_str(), &before), 0);
  spec.mounts = {view("/a/b"), view("/sub", "dir"), view("/l", "/link"), view("/f", "dir/both")};
  StepResult r = run(spec);
  ASSERT_EQ(r.error, "") << r.hint;
  EXPECT_EQ(r.out, "lowtwolowtwotwo");
  EXPECT_THAT(r.err, HasSubstr("Read-only file system"));
  EXPECT_THAT(upper_listing(), IsEmpty());
  ASSERT_EQ(::stat(upper_.c_str(), &after), 0);
  EXPECT_EQ(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
}

TEST_F(StepMountsTest, OneTreeAndNone) {
  make_trees();
  RunSpec spec = shell("cat /one/both; ls -A /none | wc -l");
  spec.mounts = {view("/one", "dir"), view("/none")};
  spec.mounts[0].lower_trees = {path("one")};
  spec.mounts[1].lower_trees.clear();
  StepResult r = run(spec);
  EXPECT_EQ(r.out, "one0\n") << r.error << r.err;
}

TEST_F(StepMountsTest, WritesGoToTheUpperDirectoryOnly) {
  make_trees();
  ASSERT_EQ(::chmod(path("two").c_str(), 0711), 0);
  RunSpec spec = shell("echo new > /v/dir/low; rm /v/dir/both; stat -c %a /v; cat /v/dir/low");
  spec.mounts = {writable(view("/v"), "discard")};
  StepResult r = run(spec);
  EXPECT_EQ(r.out, "711\nnew\n") << r.error << r.err;
  EXPECT_EQ(slurp(path("one") + "/dir/low"), "low");
  EXPECT_EQ(slurp(path("two") + "/dir/both"), "two");
  EXPECT_EQ(slurp(path("discard") + "/dir/low"), "new\n");
  EXPECT_THAT(upper_listing(), IsEmpty());
  // A cache: the same upper and even the same work directory again.
  RunSpec again = shell("cat /v/dir/low; ls /v/dir");
  again.mounts = spec.mounts;
  r = run(again);
  EXPECT_EQ(r.out, "new\nlow\n") << r.error << r.err;
}

TEST_F(StepMountsTest, SubPathsAreConfinedAndNamedWhenMissing) {
  make_trees();
  RunSpec spec = shell("true");
  spec.mounts = {view("/v", "dir/nowhere")};
  EXPECT_THAT(run(spec).error, HasSubstr("dir/nowhere"));
  spec = shell("true");
  spec.mounts = {view("/v", "out/passwd")};  // would be the host's
  EXPECT_THAT(run(spec).error, HasSubstr("out/passwd"));
}

TEST_F(StepMountsTest, NestedDuplicateAndLinkedTargets) {
  make_trees();
  fs::create_directories(base_ + "/real");
  fs::create_symlink("/real", base_ + "/alias");
  RunSpec spec = shell("cat /o/dir/low; ls /o/dir/t | wc -l; cat /real/x/low; cat /o/dir/both");
  spec.mounts = {writable(view("/o"), "outer"), at(Mount::Type::kTmpfs, "/o/dir/t"),
                 view("/alias/x", "dir"), at(Mount::Type::kFile, "/o/dir/both"),
                 at(Mount::Type::kFile, "/o/dir/both")};
  spec.mounts[3].content = "first";
  spec.mounts[4].content = "second";
  StepResult r = run(spec);
  EXPECT_EQ(r.out, "low0\nlowsecond") << r.error << r.err;
  EXPECT_THAT(upper_listing(), IsEmpty());
}

TEST_F(StepMountsTest, FilesHaveExactModesAndLeaveNothing) {
  RunSpec spec = shell(
      "cat /run/secrets/a; stat -c '%a %u %g' /run/secrets/a /b; echo x > /run/secrets/a; "
      "grep -e ' /run/secrets/a ' /proc/self/mountinfo | grep -c -e nosuid,nodev");
  spec.mounts = {at(Mount::Type::kFile, "/run/secrets/a"), at(Mount::Type::kFile, "/b")};
  spec.mounts[0].content = "hunter2\n";
  spec.mounts[1].content = std::string(300000, 'b');
  spec.mounts[1].mode = 0640;
  spec.mounts[1].uid = 12;
  spec.mounts[1].gid = 34;
  StepResult r = run(spec);
  EXPECT_EQ(r.out, "hunter2\n400 0 0\n640 12 34\n1\n") << r.error << r.err;
  EXPECT_THAT(r.err, HasSubstr("Read-only file system"));
  EXPECT_THAT(upper_listing(), IsEmpty());
  for (const auto& entry : fs::recursive_directory_iterator(spec.work_dir))
    EXPECT_THAT(slurp(entry.path()), Not(HasSubstr("hunter2")));
}

TEST_F(StepMountsTest, TmpfsWithModeOwnerAndSize) {
  RunSpec spec = shell("stat -c '%a %u %g' /t /u; dd if=/dev/zero of=/t/x bs=1k count=99 2>&1");
  spec.mounts = {at(Mount::Type::kTmpfs, "/t"), at(Mount::Type::kTmpfs, "/u")};
  spec.mounts[0].read_only = false;
  spec.mounts[0].mode = 0750;
  spec.mounts[0].uid = 3;
  spec.mounts[0].gid = 4;
  spec.mounts[0].size_bytes = 65536;
  StepResult r = run(spec);
  EXPECT_THAT(r.out, HasSubstr("750 3 4\n1777 0 0\n")) << r.error << r.err;
  EXPECT_THAT(r.out, HasSubstr("No space left"));
}

TEST_F(StepMountsTest, SocketsAreSeenAndOthersRefused) {
  int listener = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::string name = path("agent");
  ASSERT_LT(name.size(), sizeof address.sun_path);
  std::memcpy(address.sun_path, name.c_str(), name.size() + 1);
  ASSERT_EQ(::bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  RunSpec spec = shell("test -S /run/agent && echo socket");
  spec.mounts = {at(Mount::Type::kSocket, "/run/agent")};
  spec.mounts[0].source = name;
  EXPECT_EQ(run(spec).out, "socket\n");
  EXPECT_THAT(upper_listing(), IsEmpty());
  ::close(listener);
  spec = shell("true");
  spec.mounts = {at(Mount::Type::kSocket, "/run/agent")};
  spec.mounts[0].source = base_ + "/etc/passwd";
  EXPECT_THAT(run(spec).error, HasSubstr("use as a socket"));
}

TEST_F(StepMountsTest, InsecureStepsHoldEverything) {
  RunSpec spec = shell(
      "grep -e ^Seccomp: /proc/self/status; mount -t tmpfs x /tmp && echo mounted; "
      "test -w /proc/sys/kernel/hostname && echo open; ls /dev | wc -l");
  spec.security = Security::kInsecure;
  StepResult r = run(spec);
  EXPECT_THAT(r.out, HasSubstr("Seccomp:\t0\nmounted\nopen\n")) << r.error << r.err;
  EXPECT_GT(std::stoi(r.out.substr(r.out.rfind("open\n") + 5)), 15);
  EXPECT_THAT(upper_listing(), IsEmpty());
}

TEST_F(StepMountsTest, UlimitsShmAndTimes) {
  RunSpec spec = shell("ulimit -n; ulimit -Hn; grep -e ' /dev/shm ' /proc/mounts; seq 300000");
  spec.ulimits = {{"nofile", 77, 99}};
  spec.shm_size_bytes = 8 << 20;
  StepResult r = run(spec);
  EXPECT_THAT(r.out, HasSubstr("77\n99\n")) << r.error;
  EXPECT_THAT(r.out, HasSubstr("size=8192k"));
  EXPECT_GT(r.outcome.user_ns + r.outcome.system_ns, 0u);
  spec = shell("true");
  spec.ulimits = {{"nofile", 1, uint64_t{1} << 40}};
  EXPECT_THAT(run(spec).error, HasSubstr("ulimit nofile: "));
  spec = shell("true");
  spec.ulimits = {{"files", 1, 2}};
  EXPECT_THAT(run(spec).error, HasSubstr("unknown ulimit \"files\""));
  spec = shell("true");
  spec.ulimits = {{"nofile", 3, 2}};
  EXPECT_THAT(run(spec).error, HasSubstr("above the hard limit"));
}

TEST_F(StepMountsTest, MemoryLimitIsSaidPlainly) {
  RunSpec spec = shell("dd if=/dev/zero of=/dev/null bs=300M count=1 2>/dev/null; exit $?");
  spec.memory_limit_bytes = 64 << 20;
  StepResult r = run(spec);
  ASSERT_EQ(r.error, "");
  if (!r.outcome.limit_note.empty()) GTEST_SKIP() << r.outcome.limit_note;
  EXPECT_TRUE(r.outcome.out_of_memory);
  EXPECT_EQ(r.outcome.exit_status, 137);
  spec = shell("true");
  spec.memory_limit_bytes = 64 << 20;
  r = run(spec);
  EXPECT_EQ(r.outcome.exit_status, 0);
  EXPECT_FALSE(r.outcome.out_of_memory);
}

TEST_F(StepMountsTest, InteractiveStepsHaveATerminal) {
  int master = -1, slave = -1;
  winsize size{33, 101, 0, 0};
  ASSERT_EQ(::openpty(&master, &slave, nullptr, nullptr, &size), 0);
  termios before{}, after{};
  ASSERT_EQ(::tcgetattr(slave, &before), 0);
  RunSpec spec = shell(
      "read line < /dev/tty; echo got $line; readlink /proc/self/fd/0; test -t 0 -a -t 1 -a -t 2 "
      "&& echo terminal; exit 5");
  spec.terminal = Terminal{slave, slave};
  ASSERT_EQ(::write(master, "hello\n", 6), 6);
  StepResult r = run(spec);
  EXPECT_EQ(r.error, "") << r.hint;
  EXPECT_EQ(r.outcome.exit_status, 5);
  EXPECT_EQ(r.out + r.err, "");
  ASSERT_EQ(::tcgetattr(slave, &after), 0);
  EXPECT_EQ(before.c_lflag, after.c_lflag);
  char buffer[4096];
  ssize_t n = ::read(master, buffer, sizeof buffer);
  std::string text(buffer, n > 0 ? static_cast<size_t>(n) : 0);
  for (int i = 0; i < 20 && text.find("terminal\r\n") == std::string::npos; ++i) {
    pollfd ready{master, POLLIN, 0};
    if (::poll(&ready, 1, 200) <= 0) break;
    n = ::read(master, buffer, sizeof buffer);
    if (n > 0) text.append(buffer, static_cast<size_t>(n));
  }
  EXPECT_THAT(text, HasSubstr("got hello\r\n/dev/pts/0\r\nterminal\r\n"));
  ::close(master);
  ::close(slave);
}

}  // namespace
}  // namespace kasane::exec::testing
