#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <latch>

namespace kasane {
namespace {

TEST(ThreadPool, DestructorRunsEverythingQueued) {
  std::atomic<int> sum = 0;
  {
    ThreadPool pool(3);
    for (int i = 1; i <= 100; ++i) pool.submit([&sum, i] { sum += i; });
  }
  EXPECT_EQ(sum, 5050);
}

TEST(ThreadPool, JobsRunSideBySide) {
  std::latch both(2);
  ThreadPool pool(2);
  for (int i = 0; i < 2; ++i) pool.submit([&] { both.arrive_and_wait(); });
  both.wait();
}

TEST(ThreadPool, JobsMaySubmitJobs) {
  std::atomic<bool> done = false;
  {
    ThreadPool pool(1);
    pool.submit([&] { pool.submit([&] { done = true; }); });
  }
  EXPECT_TRUE(done);
}

}  // namespace
}  // namespace kasane
