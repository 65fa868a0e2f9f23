#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/fd.h"
#include "exec/executor.h"

namespace kasane::exec {
namespace {

TEST(Probe, RootWithOverlayfs) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  auto directory = TempDir::make("kasane-probe");
  ASSERT_TRUE(directory);
  // The store need not exist yet, and the probe leaves nothing behind.
  SandboxSupport support = probe_sandbox(directory->path() + "/not/yet");
  EXPECT_EQ(support.mode, SandboxMode::kRoot) << support.reason;
  EXPECT_EQ(support.storage, "overlayfs");
  EXPECT_TRUE(support.missing.empty());
  EXPECT_TRUE(std::filesystem::is_empty(directory->path()));
}

TEST(Probe, StoreThatCannotHoldAnUpperDirectory) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  SandboxSupport support = probe_sandbox("/proc/self");
  EXPECT_EQ(support.mode, SandboxMode::kNone);
  EXPECT_NE(support.reason.find("create a probe directory in /proc/self"), std::string::npos)
      << support.reason;
}

}  // namespace
}  // namespace kasane::exec
