#include "base/result.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace kasane {
namespace {

Result<int> half(int n) {
  if (n % 2 != 0) return Error(ErrorKind::kInvalid, std::to_string(n) + " is odd");
  return n / 2;
}
Result<int> quarter(int n) { return TRY(half(TRY_CONTEXT(half(n), "first half"))); }
Result<void> check(int n) {
  TRY(half(n));
  return {};
}
Result<std::unique_ptr<int>> boxed(int n) { return std::make_unique<int>(TRY(half(n))); }

TEST(Result, TryPassesValuesOn) {
  EXPECT_EQ(quarter(8).value(), 2);
  EXPECT_TRUE(check(2));
  std::unique_ptr<int> value = boxed(4).take();  // move-only values work
  EXPECT_EQ(*value, 2);
}

TEST(Result, TryReturnsTheErrorAndAddsContextWhereAsked) {
  EXPECT_EQ(quarter(6).error().full_message(), "3 is odd");
  EXPECT_EQ(quarter(5).error().full_message(), "first half: 5 is odd");
  EXPECT_FALSE(check(1));
}

}  // namespace
}  // namespace kasane
