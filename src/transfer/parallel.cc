#include "transfer/parallel.h"

#include <algorithm>
#include <mutex>
#include <optional>

#include "base/thread_pool.h"

namespace kasane::transfer {

Result<void> in_parallel(size_t count, int threads, const std::stop_token& stop,
                         const std::function<Result<void>(size_t, const std::stop_token&)>& work) {
  std::stop_source own;
  const std::stop_callback forward(stop, [&] { own.request_stop(); });
  std::mutex mutex;
  std::optional<Error> error;
  if (count > 0) {
    ThreadPool pool(static_cast<unsigned>(std::clamp<size_t>(count, 1, static_cast<size_t>(std::max(1, threads)))));
    for (size_t i = 0; i < count; ++i)
      pool.submit([&, i] {
        if (own.stop_requested()) return;
        Result<void> done = work(i, own.get_token());
        if (done) return;
        std::lock_guard lock(mutex);
        if (!error) error = std::move(done.error());
        own.request_stop();
      });
  }
  if (error) return std::move(*error);
  if (stop.stop_requested()) return Error(ErrorKind::kCancelled, "cancelled");
  return {};
}

}  // namespace kasane::transfer
