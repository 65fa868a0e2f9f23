#include <gmock/gmock.h>

#include "exec/executor.h"

namespace kasane::exec {
namespace {

using ::testing::HasSubstr;

TEST(BinfmtTest, TheHostsOwnPlatformRuns) {
  EXPECT_EQ(why_cannot_execute(oci::Platform::host()), std::nullopt);
}

TEST(BinfmtTest, NonsenseIsExplained) {
  oci::Platform nonsense;
  nonsense.architecture = "pdp11";
  auto why = why_cannot_execute(nonsense);
  ASSERT_TRUE(why);
  EXPECT_THAT(*why, HasSubstr("linux/pdp11"));
  EXPECT_THAT(*why, HasSubstr("no emulator is known"));
  nonsense = oci::Platform::host();
  nonsense.os = "windows";
  why = why_cannot_execute(nonsense);
  ASSERT_TRUE(why);
  EXPECT_THAT(*why, HasSubstr("another operating system"));
}

TEST(BinfmtTest, AnEmulatedPlatformRunsOrSaysWhatToInstall) {
  oci::Platform other;
  other.architecture = oci::Platform::host().architecture == "s390x" ? "arm64" : "s390x";
  auto why = why_cannot_execute(other);
  EXPECT_THAT(why.value_or("qemu-"), HasSubstr("qemu-"));
}

}  // namespace
}  // namespace kasane::exec
