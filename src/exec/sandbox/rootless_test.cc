// The sandbox as an ordinary user, tried as "nobody" in a forked child: with a range in
// /etc/subuid (bound over in a private mount namespace) and without one.
#include <grp.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <functional>

#include "base/fd.h"
#include "exec/executor.h"
#include "exec/sandbox/testing.h"
#include "exec/userns.h"

namespace kasane::exec::testing {
namespace {

namespace fs = std::filesystem;
constexpr uid_t kNobody = 65534;

// Becomes nobody with exactly `subids` in /etc/subuid and /etc/subgid.
bool become_nobody(const std::string& directory, const std::string& subids,
                   const std::vector<std::string>& hidden) {
  write(directory + "/subids", subids);
  if (::unshare(CLONE_NEWNS) != 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr))
    return false;
  for (const char* target : {"/etc/subuid", "/etc/subgid"})
    if (::mount((directory + "/subids").c_str(), target, nullptr, MS_BIND, nullptr) != 0)
      return false;
  for (const std::string& path : hidden)
    if (::mount("/dev/null", path.c_str(), nullptr, MS_BIND, nullptr) != 0) return false;
  if (::setgroups(0, nullptr) != 0 || ::setgid(kNobody) != 0 || ::setuid(kNobody) != 0)
    return false;
  return ::prctl(PR_SET_DUMPABLE, 1) == 0;  // as after exec: /proc/self is the user's
}

// One RUN as the user, with a busybox layer; "status|stdout|stderr|error".
std::string step(const std::string& store, const std::string& script, const std::string& user,
                 const std::vector<Mount>& mounts = {}) {
  fs::create_directories(store + "/layer/bin");
  if (!fs::exists(store + "/layer/bin/sh")) {
    fs::copy_file("/bin/busybox", store + "/layer/bin/busybox");
    for (const char* name : {"sh", "id", "chown", "stat", "rm", "cat", "ls", "mknod"})
      fs::create_symlink("busybox", store + "/layer/bin/" + name);
    write(store + "/layer/file", "x");
  }
  const char* runtime = std::getenv("KASANE_TEST_RUNTIME");
  auto executor =
      runtime != nullptr ? make_oci_executor(store, runtime, {}) : make_sandbox_executor(store, {});
  if (!executor) return "no executor: " + executor.error().full_message();
  RunSpec spec;
  spec.argv = {"/bin/sh", "-c", script};
  spec.env = {"PATH=/bin"};
  spec.user = user;
  spec.mounts = mounts;
  spec.lower_trees = {store + "/layer"};
  spec.upper_dir = store + "/upper";
  spec.work_dir = store + "/work";
  fs::create_directories(spec.upper_dir);
  fs::create_directories(spec.work_dir);
  std::string out;
  auto outcome = (*executor)->run(spec, [&](std::string_view text, int) { out += text; }, {});
  if (!outcome) return "error: " + outcome.error().full_message() + outcome.error().hint_text();
  return std::to_string(outcome->exit_status) + "|" + out;
}

class RootlessTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root to become another user";
    if (::access("/bin/busybox", X_OK) != 0) GTEST_SKIP() << "needs busybox-static";
    auto directory = TempDir::make("kasane-rootless");
    ASSERT_TRUE(directory);
    directory_ = std::make_unique<TempDir>(std::move(*directory));
    ASSERT_EQ(::chmod(directory_->path().c_str(), 0755), 0);
    store_ = directory_->path() + "/store";
    ASSERT_EQ(::mkdir(store_.c_str(), 0755), 0);
    ASSERT_EQ(::chown(store_.c_str(), kNobody, kNobody), 0);
    // A chroot is such a place: the kernel refuses user namespaces to a chrooted process.
    std::string allowed =
        as_nobody("", [] { return ::unshare(CLONE_NEWUSER) == 0 ? "yes" : "no"; });
    if (allowed != "yes") GTEST_SKIP() << "plain users may not make user namespaces here";
  }

  // What `body` returns when it runs as nobody.
  std::string as_nobody(const std::string& subids, const std::function<std::string()>& body) {
    int fds[2];
    if (::pipe2(fds, O_CLOEXEC) != 0) return "pipe";
    pid_t pid = ::fork();
    if (pid == 0) {
      std::string text =
          become_nobody(directory_->path(), subids, hidden_) ? body() : "cannot become nobody";
      (void)!::write(fds[1], text.data(), text.size());
      ::_exit(0);
    }
    ::close(fds[1]);
    std::string text;
    char buffer[4096];
    ssize_t n;
    while ((n = ::read(fds[0], buffer, sizeof buffer)) > 0) text.append(buffer, n);
    ::close(fds[0]);
    ::waitpid(pid, nullptr, 0);
    return text;
  }

  std::unique_ptr<TempDir> directory_;
  std::string store_;
  std::vector<std::string> hidden_;  // programs that are not there
};

constexpr const char* kRange = "nobody:300000:65536\n";

TEST_F(RootlessTest, RangeMode) {
  if (::access("/usr/bin/newuidmap", X_OK) != 0) GTEST_SKIP() << "needs package uidmap";
  EXPECT_EQ(as_nobody(kRange,
                      [&] {
                        SandboxSupport s = probe_sandbox(store_);
                        return (s.mode == SandboxMode::kRootlessRange ? "range " : "other ") +
                               s.storage + s.reason;
                      }),
            "range overlayfs (userxattr)");
  EXPECT_EQ(as_nobody(kRange,
                      [&] {
                        return step(store_,
                                    "id -u; echo a > /owned; chown 7:8 /owned; rm /file; "
                                    "stat -c %u:%g /owned /bin/sh; ls /dev/null /sys/kernel/mm | "
                                    "cat > /dev/null; cat /etc/hosts > /dev/null; echo $HOME",
                                    "");
                      }),
            "0|0\n7:8\n0:0\n/\n");
  struct stat st;
  ASSERT_EQ(::stat((store_ + "/upper/owned").c_str(), &st), 0);
  EXPECT_EQ(st.st_uid, 300006u);
  EXPECT_EQ(st.st_gid, 300007u);
  ASSERT_EQ(::lstat((store_ + "/upper/file").c_str(), &st), 0);
  EXPECT_TRUE(S_ISCHR(st.st_mode));
  EXPECT_FALSE(fs::exists(store_ + "/upper/dev"));
  EXPECT_FALSE(fs::exists(store_ + "/upper/etc"));
  // Trees of subordinate ids can be read and removed inside the mapping only.
  EXPECT_EQ(as_nobody(kRange,
                      [&] {
                        auto result = run_in_mapped_userns([&] {
                          struct stat inner;
                          if (::stat((store_ + "/upper/owned").c_str(), &inner) != 0) return 1;
                          if (inner.st_uid != 7 || inner.st_gid != 8) return 2;
                          return remove_tree(store_ + "/upper") ? 0 : 3;
                        });
                        return result ? std::to_string(*result) : result.error().full_message();
                      }),
            "0");
  EXPECT_FALSE(fs::exists(store_ + "/upper"));
}

TEST_F(RootlessTest, RangeModeOtherUsers) {
  if (::access("/usr/bin/newuidmap", X_OK) != 0) GTEST_SKIP() << "needs package uidmap";
  EXPECT_EQ(as_nobody(kRange, [&] { return step(store_, "id -u; id -G", "33:44"); }), "0|33\n44\n");
  std::string far = as_nobody(kRange, [&] { return step(store_ + "/b", "id -u", "700000"); });
  EXPECT_NE(far.find("switch to user 700000"), std::string::npos) << far;
  EXPECT_NE(far.find("/etc/subuid"), std::string::npos) << far;
}

TEST_F(RootlessTest, SingleIdMode) {
  EXPECT_EQ(as_nobody("other:1:2\n",
                      [&] {
                        SandboxSupport s = probe_sandbox(store_);
                        return (s.mode == SandboxMode::kSingleUid ? "single " : "other ") +
                               s.storage + " " + s.missing.at(0);
                      }),
            "single overlayfs (userxattr) a range for nobody in /etc/subuid: add the line "
            "\"nobody:100000:65536\" to it");
  EXPECT_EQ(as_nobody("other:1:2\n",
                      [&] { return step(store_, "id -u; echo a > /x; chown 7 /x || echo no", ""); })
                .substr(0, 4),
            "0|0\n");
  std::string other = as_nobody("other:1:2\n", [&] { return step(store_ + "/b", "id", "33"); });
  EXPECT_NE(other.find("switch to user 33"), std::string::npos) << other;
}

std::vector<Mount> some_mounts(const std::string& store, uint32_t owner) {
  write(store + "/tree/dir/file", "tree\n");
  fs::create_directories(store + "/discard");
  fs::create_directories(store + "/discard-work");
  Mount file;
  file.type = Mount::Type::kFile;
  file.target = "/secret";
  file.content = "secret\n";
  file.uid = file.gid = owner;
  Mount view;
  view.type = Mount::Type::kOverlay;
  view.target = "/view";
  view.lower_trees = {store + "/tree"};
  view.sub_path = "dir";
  Mount discarded = view;
  discarded.target = "/writable";
  discarded.read_only = false;
  discarded.upper_dir = store + "/discard";
  discarded.work_dir = store + "/discard-work";
  Mount memory;
  memory.type = Mount::Type::kTmpfs;
  memory.target = "/memory";
  memory.mode = 0700;
  memory.uid = owner;
  return {file, view, discarded, memory};
}

constexpr const char* kUseMounts =
    "cat /secret /view/file; rm /writable/file; stat -c %a,%u /secret /memory; echo x > /view/y";

TEST_F(RootlessTest, MountsInBothModes) {
  std::string text = as_nobody("other:1:2\n", [&] {
    return step(store_ + "/a", kUseMounts, "", some_mounts(store_ + "/a", 0));
  });
  EXPECT_EQ(text.substr(0, text.find("/bin/sh")), "1|secret\ntree\n400,0\n700,0\n") << text;
  EXPECT_NE(text.find("Read-only"), std::string::npos) << text;
  EXPECT_FALSE(fs::exists(store_ + "/a/upper/secret"));
  text = as_nobody("other:1:2\n", [&] {
    return step(store_ + "/b", kUseMounts, "", some_mounts(store_ + "/b", 7));
  });
  EXPECT_NE(text.find("set the owner of mount /secret"), std::string::npos) << text;
  if (::access("/usr/bin/newuidmap", X_OK) != 0) GTEST_SKIP() << "needs package uidmap";
  text = as_nobody(
      kRange, [&] { return step(store_ + "/c", kUseMounts, "", some_mounts(store_ + "/c", 7)); });
  EXPECT_EQ(text.substr(0, text.find("/bin/sh")), "1|secret\ntree\n400,7\n700,7\n") << text;
}

// Helpers are never found by PATH: what hides them is a mount.
TEST_F(RootlessTest, MissingSettingsAreNamed) {
  if (::access("/usr/bin/newuidmap", X_OK) != 0) GTEST_SKIP() << "needs package uidmap";
  hidden_ = {"/usr/bin/newuidmap", "/usr/bin/newgidmap"};
  std::string text = as_nobody(kRange, [&] {
    SandboxSupport s = probe_sandbox(store_);
    std::string all;
    for (const std::string& item : s.missing) all += item + ";";
    return all;
  });
  EXPECT_EQ(text, "newuidmap (package uidmap);newgidmap (package uidmap);");
  hidden_.clear();
  ::setenv("PATH", "/nonexistent", 1);
  EXPECT_EQ(as_nobody(kRange, [&] { return probe_sandbox(store_).storage; }),
            "overlayfs (userxattr)");
}

}  // namespace
}  // namespace kasane::exec::testing
