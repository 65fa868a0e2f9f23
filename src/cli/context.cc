#include "cli/context.h"

#include <unistd.h>

#include <chrono>
#include <cstdlib>

#include "exec/userns.h"
#include "store/store.h"

namespace kasane::cli {
namespace {

constexpr size_t kBufferBytes = 64 << 10;

std::span<const uint8_t> as_bytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

}  // namespace

void Context::out(std::string_view text) {
  if (out_error_ || !streams.out) return;
  if (auto written = streams.out->write(as_bytes(text)); !written) out_error_ = written.error();
}

void Context::err(std::string_view text) {
  // Nothing can be said when stderr itself fails.
  if (streams.err) (void)streams.err->write(as_bytes(text));
}

void Context::flush() {
  if (out_error_ || !streams.flush_out) return;
  if (auto flushed = streams.flush_out(); !flushed) out_error_ = flushed.error();
}

std::optional<std::string> Context::env(const std::string& name) const {
  if (name == "DOCKER_CONFIG" && !globals.config.empty()) return globals.config;
  if (environment) return environment(name);
  const char* value = std::getenv(name.c_str());
  if (!value) return std::nullopt;
  return value;
}

int64_t Context::now_ns() const {
  if (clock) return clock();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

Result<store::Store*> Context::store(bool read_only) {
  if (store_ && (read_only || !store_read_only_)) return store_.get();
  store::OpenOptions options;
  options.root = store::default_root(globals.root);
  options.read_only = read_only;
  store_ = TRY(store::Store::open(options));
  // Trees that a rootless RUN made belong to subordinate ids: whoever reads, unpacks or
  // deletes them must do it inside the same mapping. Nothing is forked until then.
  if (::geteuid() != 0)
    store_->set_tree_runner(
        [](const std::function<int()>& work) { return exec::run_in_mapped_userns(work); });
  store_read_only_ = read_only;
  return store_.get();
}

Result<void> BufferedFdSink::write(std::span<const uint8_t> bytes) {
  if (buffer_.size() + bytes.size() > kBufferBytes) TRY(flush());
  if (bytes.size() >= kBufferBytes) return write_all(fd_, bytes, name_);
  buffer_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return {};
}

Result<void> BufferedFdSink::flush() {
  std::string pending = std::exchange(buffer_, {});
  return write_all(fd_, pending, name_);
}

}  // namespace kasane::cli
