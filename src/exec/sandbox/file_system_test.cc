// What a step sees of the file system, and what it leaves in the upper directory.
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <filesystem>

#include "exec/sandbox/testing.h"

namespace kasane::exec::testing {
namespace {

namespace fs = std::filesystem;
using Lines = std::vector<std::string>;
using FileSystemTest = SandboxTest;

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

TEST_F(FileSystemTest, TrueLeavesNothing) {
  // The base has no /dev, /proc, /sys, and /etc without hosts and resolv.conf.
  StepResult r = sh("true");
  ASSERT_EQ(r.error, "") << r.hint;
  EXPECT_EQ(upper_listing(), Lines{});
}

TEST_F(FileSystemTest, TrueLeavesNothingWithoutEtc) {
  fs::remove_all(base_ + "/etc");
  RunSpec spec = shell("cat /etc/hosts; ls /dev/null /proc/self/status");
  spec.mounts = {{Mount::Type::kTmpfs, "", "/a/b/c", false, 0},
                 {Mount::Type::kBind, base_ + "/bin", "/a/bin", true, 0},
                 {Mount::Type::kBind, base_ + "/bin/busybox", "/x/y/file", true, 0}};
  StepResult r = run(spec);
  EXPECT_EQ(r.outcome.exit_status, 0) << r.error << r.err;
  EXPECT_TRUE(has(r.out, "127.0.0.1\tlocalhost buildkitsandbox\n")) << r.out;
  EXPECT_EQ(upper_listing(), Lines{});
}

TEST_F(FileSystemTest, RootMetadataAndParentTimesStay) {
  struct stat etc, root, upper;
  ASSERT_EQ(::chmod(base_.c_str(), 0711), 0);
  ASSERT_EQ(::stat(base_.c_str(), &root), 0);
  ASSERT_EQ(::stat((base_ + "/etc").c_str(), &etc), 0);
  StepResult r = sh("stat -c '%a %Y' / /etc");
  EXPECT_EQ(r.out, "711 " + std::to_string(root.st_mtim.tv_sec) + "\n755 " +
                       std::to_string(etc.st_mtim.tv_sec) + "\n");
  ASSERT_EQ(::stat(upper_.c_str(), &upper), 0);
  EXPECT_EQ(upper.st_mode, root.st_mode);
  EXPECT_EQ(upper.st_mtim.tv_sec, root.st_mtim.tv_sec);
  EXPECT_EQ(upper.st_mtim.tv_nsec, root.st_mtim.tv_nsec);
}

TEST_F(FileSystemTest, DirectoriesTheStepTouchedStay) {
  sh("chmod 700 /etc");
  EXPECT_EQ(upper_listing(), Lines{"d etc"});
  sh("echo x > /etc/new");
  EXPECT_EQ(upper_listing(), (Lines{"d etc", "f etc/new"}));
  sh("sleep 0.01; echo x > /etc/new; rm /etc/new");
  EXPECT_EQ(upper_listing(), Lines{"d etc"});
  sh("echo x >> /etc/group");
  EXPECT_EQ(upper_listing(), (Lines{"d etc", "f etc/group"}));
  struct stat upper, lower;
  ASSERT_EQ(::stat((upper_ + "/etc").c_str(), &upper), 0);
  ASSERT_EQ(::stat((base_ + "/etc").c_str(), &lower), 0);
  EXPECT_EQ(upper.st_mtim.tv_nsec, lower.st_mtim.tv_nsec);
}

TEST_F(FileSystemTest, WhiteoutsAndOpaqueDirectories) {
  write(base_ + "/d/a", "a");
  write(base_ + "/d/b", "b");
  write(base_ + "/gone", "x");
  StepResult r = sh("rm /gone; rm -r /d; mkdir /d; echo c > /d/c; ln -s c /d/l; mknod /dev0 c 1 3");
  EXPECT_EQ(r.outcome.exit_status, 0) << r.err << r.error;
  EXPECT_EQ(upper_listing(), (Lines{"f d/c", "l d/l", "o d", "w gone", "x dev0"}));
}

TEST_F(FileSystemTest, DeviceNodesCanBeMadeButNotUsed) {
  StepResult r =
      sh("mknod /n c 1 3; echo x > /n; mknod /dev/n c 1 5; cat /dev/n; echo ok > /dev/null");
  EXPECT_EQ(r.outcome.exit_status, 0) << r.err;
  EXPECT_TRUE(has(r.err, "/n: Permission denied")) << r.err;
  EXPECT_TRUE(has(r.err, "'/dev/n': Permission denied")) << r.err;
  EXPECT_EQ(upper_listing(), Lines{"x n"});
}

TEST_F(FileSystemTest, ScratchWithoutLayers) {
  RunSpec spec = shell("echo hello > /out; ls -A / | sort | tr '\\n' ' '");
  spec.lower_trees.clear();
  spec.mounts = {{Mount::Type::kBind, base_ + "/bin", "/bin", true, 0}};
  StepResult r = run(spec);
  EXPECT_EQ(r.out, "bin dev etc out proc sys ") << r.error << r.err;
  EXPECT_EQ(upper_listing(), Lines{"f out"});
}

TEST_F(FileSystemTest, HundredLayersInOrder) {
  for (int i = 1; i <= 100; ++i) {
    std::string layer = add_layer();
    write(layer + "/top", std::to_string(i));
    write(layer + "/only" + std::to_string(i), "");
  }
  StepResult r = sh("cat /top; echo; ls / | grep -c only");
  EXPECT_EQ(r.out, "100\n100\n") << r.error;
  EXPECT_EQ(upper_listing(), Lines{});
}

// Two COPY instructions of equal files make one layer twice; overlayfs alone says ELOOP.
TEST_F(FileSystemTest, OneLayerSeveralTimes) {
  std::string twice = add_layer(), between = add_layer();
  write(twice + "/f", "twice");
  fs::create_directory(twice + "/d");
  write(between + "/f", "between");
  write(between + "/d", "a file");
  layers_.push_back(twice);
  RunSpec spec = shell("cat /f /m/f; test -d /d && test -d /m/d");
  spec.mounts.push_back({.type = Mount::Type::kOverlay, .target = "/m", .lower_trees = layers_});
  StepResult r = run(spec);
  EXPECT_EQ(r.out, "twicetwice") << r.error << r.err;
  EXPECT_EQ(r.outcome.exit_status, 0);
}

TEST_F(FileSystemTest, MostLayersOverlayfsTakes) {
  while (layers_.size() < 500) add_layer();
  EXPECT_EQ(sh("echo ok").out, "ok\n");
  add_layer();
  EXPECT_TRUE(has(sh("true").error, "501 layers"));
}

TEST_F(FileSystemTest, DevHoldsTheStandardNodes) {
  EXPECT_EQ(
      sh("ls -A /dev | tr '\\n' ' '; ls -A /dev/shm /dev/mqueue | wc -w").out,
      "core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero 2\n");
  EXPECT_EQ(sh("stat -c %t:%T:%a /dev/null /dev/urandom; head -c 3 /dev/zero | wc -c; "
               "echo x > /dev/shm/x && stat -f -c %S:%b /dev/shm")
                .out,
            "1:3:666\n1:9:666\n3\n4096:16384\n");
}

TEST_F(FileSystemTest, OwnerAndModeOfTheHostsDevicesStay) {
  struct stat before, after;
  ASSERT_EQ(::stat("/dev/full", &before), 0);
  StepResult r = sh("chown 1234 /dev/full; chmod 600 /dev/full; stat -c '%u %a' /dev/full; ls /dev");
  EXPECT_EQ(::stat("/dev/full", &after), 0);
  EXPECT_EQ(after.st_uid, before.st_uid);
  EXPECT_EQ(after.st_mode, before.st_mode);
  EXPECT_EQ(after.st_ctim.tv_sec, before.st_ctim.tv_sec);
  EXPECT_TRUE(r.out.starts_with("1234 600\n")) << r.out << r.err << r.error;
  EXPECT_FALSE(has(r.out, "nodes"));
  EXPECT_EQ(upper_listing(), Lines{});
}

TEST_F(FileSystemTest, ProcAndSysAreMaskedAndReadOnly) {
  StepResult r =
      sh("cat /proc/kcore /proc/keys /proc/timer_list /proc/interrupts 2>/dev/null | wc -c;"
         "ls /sys/firmware /proc/acpi /proc/scsi 2>/dev/null | grep -v : | tr -d '\\n' | wc -c;"
         "for f in /proc/sys/kernel/hostname /proc/sysrq-trigger; do (echo b > $f) 2>&1; done;"
         "mkdir /sys/fs/cgroup/x 2>&1; ls -d /proc/1 /proc/[0-9]* | wc -l");
  EXPECT_TRUE(has(r.out, "0\n0\n")) << r.out;
  EXPECT_TRUE(has(r.out, "hostname: Read-only file system")) << r.out;
  if (fs::exists("/proc/sysrq-trigger")) {
    EXPECT_TRUE(has(r.out, "sysrq-trigger: Read-only file system")) << r.out;
  }
  EXPECT_TRUE(has(r.out, "cgroup/x': Read-only file system")) << r.out;
  // Mounts of the host are gone, and none is writable but the step's own.
  r = sh(
      "grep -c -v -e ' / / ' -e ' /dev' -e ' /proc' -e ' /sys' -e ' /etc/' /proc/self/mountinfo");
  EXPECT_EQ(r.out, "0\n");
}

TEST_F(FileSystemTest, HostsAndResolverAreReadOnlyAndGenerated) {
  RunSpec spec = shell("cat /etc/hosts; hostname; echo x > /etc/hosts; rm /etc/resolv.conf");
  spec.hostname = "box";
  spec.extra_hosts = {"10.1.2.3 db"};
  StepResult r = run(spec);
  EXPECT_EQ(
      r.out,
      "127.0.0.1\tlocalhost box\n::1\tlocalhost ip6-localhost ip6-loopback\n10.1.2.3 db\nbox\n");
  EXPECT_TRUE(has(r.err, "/etc/hosts: Read-only file system")) << r.err;
  EXPECT_TRUE(has(r.err, "'/etc/resolv.conf': Device or resource busy") ||
              has(r.err, "'/etc/resolv.conf': Resource busy"))
      << r.err;
  EXPECT_EQ(upper_listing(), Lines{});
  EXPECT_EQ(sh("cat /etc/resolv.conf").out, slurp("/etc/resolv.conf"));
}

TEST_F(FileSystemTest, ExistingMountTargetsKeepTheirContent) {
  write(base_ + "/etc/hosts", "image\n");
  write(base_ + "/etc/resolv.conf", "image\n");
  EXPECT_TRUE(has(sh("cat /etc/hosts").out, "buildkitsandbox"));
  EXPECT_EQ(upper_listing(), Lines{});
  EXPECT_EQ(slurp(base_ + "/etc/hosts"), "image\n");
}

TEST_F(FileSystemTest, BindMounts) {
  write(path("source/file"), "content");
  RunSpec spec = shell("cat /in/file; echo x > /in/new; echo y > /rw/new; cat /one");
  spec.mounts = {{Mount::Type::kBind, path("source"), "/in", true, 0},
                 {Mount::Type::kBind, path("source"), "/rw", false, 0},
                 {Mount::Type::kBind, path("source/file"), "/one", true, 0}};
  StepResult r = run(spec);
  EXPECT_EQ(r.out, "contentcontent") << r.error;
  EXPECT_TRUE(has(r.err, "/in/new: Read-only file system"));
  EXPECT_EQ(slurp(path("source/new")), "y\n");
  EXPECT_EQ(upper_listing(), Lines{});

  spec = shell("true");
  spec.mounts = {{Mount::Type::kBind, path("missing"), "/in", true, 0}};
  EXPECT_TRUE(has(run(spec).error, "open mount source " + path("missing")));
  for (const char* target : {"/proc/x", "/proc/sys", "/sys/fs", "/link"}) {
    fs::remove(base_ + "/link");
    fs::create_symlink("/proc/self", base_ + "/link");
    spec = shell("true");
    spec.mounts = {{Mount::Type::kTmpfs, "", target, false, 0}};
    EXPECT_NE(run(spec).error, "") << target;
  }
  spec.mounts = {{Mount::Type::kTmpfs, "", "/../", false, 0}};
  EXPECT_NE(run(spec).error, "");
}

TEST_F(FileSystemTest, MountTargetsThroughImageLinksStayInside) {
  fs::create_symlink("/run/deep", base_ + "/var");
  fs::create_symlink("../../../../..", base_ + "/up");
  fs::create_symlink("loop2", base_ + "/loop1");
  fs::create_symlink("loop1", base_ + "/loop2");
  RunSpec spec = shell("cd /run/deep/secret && pwd; ls -d /t /t2; echo x > /run/deep/file");
  spec.mounts = {{Mount::Type::kTmpfs, "", "/var/secret", false, 0},
                 {Mount::Type::kTmpfs, "", "/up/t", false, 0},
                 {Mount::Type::kTmpfs, "", "/bin/.././t2", false, 4096}};
  StepResult r = run(spec);
  EXPECT_EQ(r.out, "/run/deep/secret\n/t\n/t2\n") << r.error << r.err;
  EXPECT_FALSE(fs::exists("/run/deep"));
  Lines left = upper_listing();
  ASSERT_EQ(left.size(), 3u);
  EXPECT_EQ(left.back().substr(2).find("run"), 0u);
  spec = shell("true");
  spec.mounts = {{Mount::Type::kTmpfs, "", "/loop1/x", false, 0}};
  EXPECT_TRUE(has(run(spec).error, "Too many levels of symbolic links"));
}

// Facts 0.2, S1-S4, X15: nothing outside is touched, read or waited for.
TEST_F(FileSystemTest, HostileImages) {
  std::string host = path("host");
  for (const char* name : {"dev", "proc", "sys", "etc"}) fs::create_directories(host + "/" + name);
  write(host + "/passwd", "evil:x:0:0::/:/bin/sh\n");
  fs::create_symlink(host + "/dev", base_ + "/dev");
  fs::create_symlink("../../../../../../../.." + host + "/proc", base_ + "/proc");
  write(base_ + "/sys", "a file");
  fs::create_symlink(host + "/etc/resolv.conf", base_ + "/etc/resolv.conf");
  fs::create_symlink(host + "/etc", base_ + "/etc/hosts.d");
  fs::remove(base_ + "/etc/passwd");
  ASSERT_EQ(::mkfifo((base_ + "/etc/passwd").c_str(), 0644), 0);
  StepResult r = sh("ls -A /dev | wc -l; cat /proc/self/comm; cat /etc/hosts | wc -l");
  EXPECT_EQ(r.out, "15\ncat\n2\n") << r.error << r.err;
  EXPECT_EQ(upper_listing(), Lines{});
  for (const char* name : {"dev", "proc", "sys", "etc"})
    EXPECT_TRUE(fs::is_empty(host + "/" + name)) << name;

  RunSpec spec = shell("id");
  spec.user = "evil";
  EXPECT_TRUE(has(run(spec).error, "resolve user evil"));
  fs::remove(base_ + "/etc/passwd");
  fs::create_symlink(host + "/passwd", base_ + "/etc/passwd");
  EXPECT_TRUE(has(run([&] {
                    RunSpec s = shell("id");
                    s.user = "evil";
                    return s;
                  }())
                      .error,
                  "resolve user evil"));
  fs::remove(base_ + "/etc/passwd");
  fs::create_symlink("/proc/1/fd/3", base_ + "/etc/passwd");
  EXPECT_EQ(sh("id -u").out, "0\n");
  fs::remove(base_ + "/etc/passwd");
  write(base_ + "/etc/passwd", std::string(2 << 20, 'x'));
  EXPECT_EQ(sh("id -u").out, "0\n");
}

TEST_F(FileSystemTest, HostileWorkingDirectories) {
  fs::create_symlink("/proc/self/fd/5", base_ + "/cwd");
  for (const char* cwd : {"/cwd", "/proc/self/fd/5", "/proc/1/root/../.."}) {
    RunSpec spec = shell("pwd -P; ls /");
    spec.cwd = cwd;
    StepResult r = run(spec);
    EXPECT_FALSE(has(r.out, "work")) << r.out;  // this machine's root
  }
}

TEST_F(FileSystemTest, UnusableUpperDirectoriesAreNamed) {
  RunSpec spec = shell("true");
  spec.work_dir = "/proc";
  StepResult r = run(spec);
  EXPECT_TRUE(has(r.error, "mount overlay on " + spec.upper_dir)) << r.error;
  spec = shell("true");
  spec.lower_trees.push_back(path("nowhere"));
  EXPECT_TRUE(has(run(spec).error, path("nowhere") + ": No such file")) << run(spec).error;
}

}  // namespace
}  // namespace kasane::exec::testing
