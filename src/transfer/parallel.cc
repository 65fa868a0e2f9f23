#include "transfer/parallel.h"

#include <algorithm>
#include <mutex>
#include <optional>

#include "base/thread_pool.h"

namespace kasane::transfer {

Result<void> run_jobs(const std::vector<Job>& jobs, size_t limit, const std::stop_token& stop) {
  if (jobs.empty()) return {};
  std::stop_source all;
  const std::stop_callback forward(stop, [&] { all.request_stop(); });
  std::mutex mutex;
  std::optional<Error> error;
  const auto run = [&](const Job& job) {
    Result<void> done = all.stop_requested() ? Result<void>(Error(ErrorKind::kCancelled, "cancelled"))
                                             : job(all.get_token());
    if (done) return;
    const std::lock_guard lock(mutex);
    if (!error) error = std::move(done.error());
    all.request_stop();
  };
  {
    ThreadPool pool(static_cast<unsigned>(std::clamp<size_t>(limit, 1, jobs.size())));
    for (const Job& job : jobs) pool.submit([&run, &job] { run(job); });
  }
  if (error) return std::move(*error);
  return {};
}

}  // namespace kasane::transfer
