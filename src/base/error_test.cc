#include "base/error.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace kasane {
namespace {

TEST(Error, ErrnoDecidesTheKind) {
  EXPECT_EQ(Error::from_errno(ENOENT, "open x").kind(), ErrorKind::kNotFound);
  EXPECT_EQ(Error::from_errno(EACCES, "open x").kind(), ErrorKind::kPermission);
  EXPECT_EQ(Error::from_errno(ENOSPC, "write x").kind(), ErrorKind::kNoSpace);
  EXPECT_EQ(Error::from_errno(EIO, "read x").kind(), ErrorKind::kIo);
  const Error error = Error::from_errno(ENOENT, "open /x");
  EXPECT_EQ(error.message(), "open /x: No such file or directory");
  EXPECT_EQ(error.errno_value(), ENOENT);
}

TEST(Error, ContextsGoFromOuterToInner) {
  const Error error =
      Error(ErrorKind::kCorrupt, "bad digest").context("read manifest").context("load a:1");
  EXPECT_EQ(error.full_message(), "load a:1: read manifest: bad digest");
  EXPECT_EQ(error.message(), "bad digest");
}

TEST(Error, FirstHintAndSpanWin) {
  auto source = std::make_shared<SourceText>("Dockerfile", "FROM x\n");
  const Error error = Error(ErrorKind::kInvalid, "m")
                          .hint("inner")
                          .hint("outer")
                          .at({source, 0, 4})
                          .at({source, 5, 6});
  EXPECT_EQ(error.hint_text(), "inner");
  EXPECT_EQ(error.span().end, 4u);
}

TEST(Error, CopiesDoNotShareChanges) {
  const Error original(ErrorKind::kInvalid, "m");
  Error copy = original;
  copy = std::move(copy).context("c").exit_code(7);
  EXPECT_EQ(original.full_message(), "m");
  EXPECT_EQ(original.exit_status(), 1);
  EXPECT_EQ(copy.full_message(), "c: m");
  EXPECT_EQ(copy.exit_status(), 7);
}

}  // namespace
}  // namespace kasane
