#include <dirent.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "exec/sandbox/testing.h"

namespace kasane::exec::testing {
namespace {

namespace fs = std::filesystem;

constexpr const char* kBusybox = "/bin/busybox";
constexpr const char* kApplets[] = {
    "sh",       "true",  "false",  "cat",     "echo",   "id",       "ls",    "mkdir",
    "rm",       "rmdir", "touch",  "sleep",   "kill",   "umask",    "env",   "pwd",
    "grep",     "mv",    "ln",     "chmod",   "chown",  "stat",     "mknod", "hostname",
    "ps",       "mount", "umount", "unshare", "head",   "ifconfig", "wc",    "find",
    "readlink", "test",  "seq",    "dd",      "printf", "setsid",   "sort",  "tr"};

bool is_opaque(const std::string& path) {
  char value = 0;
  for (const char* name : {"trusted.overlay.opaque", "user.overlay.opaque"})
    if (::lgetxattr(path.c_str(), name, &value, 1) == 1 && value == 'y') return true;
  return false;
}

}  // namespace

void write(const std::string& path, std::string_view text, mode_t mode) {
  fs::create_directories(fs::path(path).parent_path());
  auto fd = open_file(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
  ASSERT_TRUE(fd) << fd.error().full_message();
  ASSERT_TRUE(write_all(fd->get(), text, path));
  ASSERT_EQ(::fchmod(fd->get(), mode), 0);
}

std::string slurp(const std::string& path) {
  auto text = read_file(path);
  return text ? *text : "<" + text.error().full_message() + ">";
}

bool SandboxTest::with_oci_runtime() { return std::getenv("KASANE_TEST_RUNTIME") != nullptr; }

void SandboxTest::SetUp() {
  if (::access(kBusybox, X_OK) != 0) GTEST_SKIP() << "needs busybox-static in /bin/busybox";
  auto directory = TempDir::make("kasane-exec");
  ASSERT_TRUE(directory) << directory.error().full_message();
  directory_ = std::make_unique<TempDir>(std::move(*directory));
  ASSERT_EQ(::chmod(directory_->path().c_str(), 0755), 0);
  // The same tests with an OCI runtime: the "exec.oci_*" tests of CTest.
  const char* runtime = std::getenv("KASANE_TEST_RUNTIME");
  auto executor = runtime != nullptr ? make_oci_executor(directory_->path(), runtime, {})
                                     : make_sandbox_executor(directory_->path(), {});
  if (!executor) GTEST_SKIP() << executor.error().full_message() << executor.error().hint_text();
  executor_ = std::move(*executor);
  base_ = add_layer();
  fs::create_directories(base_ + "/bin");
  fs::copy_file(kBusybox, base_ + "/bin/busybox");
  for (const char* applet : kApplets) fs::create_symlink("busybox", base_ + "/bin/" + applet);
  write(base_ + "/etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nnode:x:1000:1000::/home/node:/bin/sh\n");
  write(base_ + "/etc/group", "root:x:0:\nwheel:x:10:root,node\naudio:x:29:node\nnode:x:1000:\n");
  fs::create_directories(base_ + "/tmp");
  ::chmod((base_ + "/tmp").c_str(), 01777);
}

void SandboxTest::TearDown() {
  if (directory_) (void)remove_tree(directory_->path());
}

std::string SandboxTest::add_layer() {
  std::string layer = path("layer" + std::to_string(layers_.size()));
  fs::create_directories(layer);
  layers_.push_back(layer);
  return layer;
}

RunSpec SandboxTest::shell(const std::string& script) {
  RunSpec spec;
  spec.argv = {"/bin/sh", "-c", script};
  spec.env = {"PATH=/usr/local/bin:/usr/bin:/bin"};
  spec.lower_trees = layers_;
  spec.upper_dir = path("upper" + std::to_string(runs_));
  spec.work_dir = path("work" + std::to_string(runs_));
  ++runs_;
  return spec;
}

StepResult SandboxTest::run(const RunSpec& spec, std::stop_token stop) {
  upper_ = spec.upper_dir;
  fs::create_directories(spec.upper_dir);
  fs::create_directories(spec.work_dir);
  StepResult result;
  auto outcome = executor_->run(
      spec,
      [&](std::string_view bytes, int stream) { (stream == 1 ? result.out : result.err) += bytes; },
      std::move(stop));
  if (outcome) {
    result.outcome = *outcome;
  } else {
    result.error = outcome.error().full_message();
    result.hint = outcome.error().hint_text();
  }
  return result;
}

std::vector<std::string> SandboxTest::upper_listing() const {
  std::vector<std::string> lines;
  for (const auto& entry : fs::recursive_directory_iterator(upper_)) {
    struct stat st;
    if (::lstat(entry.path().c_str(), &st) != 0) continue;
    std::string kind = S_ISDIR(st.st_mode)   ? (is_opaque(entry.path()) ? "o" : "d")
                       : S_ISLNK(st.st_mode) ? "l"
                       : S_ISCHR(st.st_mode) && st.st_rdev == makedev(0, 0) ? "w"
                       : S_ISREG(st.st_mode)                                ? "f"
                                                                            : "x";
    lines.push_back(kind + " " + entry.path().lexically_relative(upper_).string());
  }
  std::sort(lines.begin(), lines.end());
  return lines;
}

}  // namespace kasane::exec::testing
