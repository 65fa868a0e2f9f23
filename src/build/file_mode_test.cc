#include "build/file_mode.h"

#include <gtest/gtest.h>

namespace kasane::build {
namespace {

struct Case {
  const char* text;
  uint32_t mode;
  bool directory;
  uint32_t expected;
};

TEST(ModeChange, AppliesLikeChmodWithUmaskZero) {
  const Case cases[] = {
      {"755", 0644, false, 0755},        {"0600", 0755, true, 0600},
      {"4755", 0644, false, 04755},      {"+x", 0644, false, 0755},
      {"u+x", 0644, false, 0744},        {"go-rwx", 0777, false, 0700},
      {"u=rwX,go=rX", 0600, false, 0644}, {"u=rwX,go=rX", 0700, false, 0755},
      {"u=rwX,go=rX", 0600, true, 0755}, {"g=u", 0640, false, 0660},
      {"a=r", 0777, false, 0444},        {"u+s", 0755, false, 04755},
      {"+t", 0777, true, 01777},         {"o=", 0777, false, 0770},
      {"u-w+x", 0600, false, 0500},
  };
  for (const Case& c : cases) {
    Result<ModeChange> change = ModeChange::parse(c.text);
    ASSERT_TRUE(change.has_value()) << c.text;
    EXPECT_EQ(change->apply(c.mode, c.directory), c.expected) << c.text << " on " << c.mode;
  }
}

TEST(ModeChange, RefusesWhatIsNeitherOctalNorSymbolic) {
  for (const char* text : {"", "8", "0x1ff", "77777", "rwx", "u+y", "u+x,", ",u+x", "u", "-1 "}) {
    Result<ModeChange> change = ModeChange::parse(text);
    EXPECT_FALSE(change.has_value()) << text;
    if (!change) {
      EXPECT_EQ(change.error().kind(), ErrorKind::kInvalid);
    }
  }
}

}  // namespace
}  // namespace kasane::build
