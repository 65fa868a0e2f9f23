// Context: what a command gets of the world: streams, environment, clock, global flags,
// the store. Passed, never global, so that tests run commands in process.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/stream.h"

namespace kasane::store {
class Store;
}

namespace kasane::cli {

struct Streams {
  int in_fd = 0;
  ByteSink* out = nullptr;                  // results
  std::function<Result<void>()> flush_out;  // null: out does not buffer
  ByteSink* err = nullptr;                  // progress, errors, prompts of warnings
  bool in_is_terminal = false;
  bool out_is_terminal = false;
  bool err_is_terminal = false;
  int out_fd = -1;  // the descriptor below `out`, for programs with a terminal; -1: none
  int err_fd = -1;  // for the window size; -1: none
};

struct Globals {
  std::string root;    // --root; "" = default
  std::string config;  // --config: docker's folder of configuration; "" = default
  bool debug = false;  // -D
};

// Used by the main thread only.
class Context {
 public:
  Context(Streams given, Globals flags) : streams(std::move(given)), globals(std::move(flags)) {}

  Streams streams;
  Globals globals;
  std::string invoked_as;  // "kasane images": the path as typed, for usage texts
  std::function<std::optional<std::string>(const std::string&)> environment;  // null: getenv
  std::function<int64_t()> clock;  // ns since the epoch; null: the system's

  // Errors of stdout are remembered (see out_error); EPIPE ends the output quietly.
  void out(std::string_view text);
  void err(std::string_view text);
  // Pushes buffered results out, before a prompt or a long wait.
  void flush();
  const std::optional<Error>& out_error() const { return out_error_; }

  std::optional<std::string> env(const std::string& name) const;
  int64_t now_ns() const;

  // Opened at the first use. read_only: a missing store is an empty one.
  Result<store::Store*> store(bool read_only);

 private:
  std::optional<Error> out_error_;
  std::shared_ptr<store::Store> store_;
  bool store_read_only_ = false;
};

// Buffers up to 64 KiB, then writes to the descriptor. Not owned: the descriptor.
class BufferedFdSink : public ByteSink {
 public:
  BufferedFdSink(int fd, std::string name) : fd_(fd), name_(std::move(name)) {}
  Result<void> write(std::span<const uint8_t> bytes) override;
  Result<void> flush();

 private:
  int fd_;
  std::string name_;
  std::string buffer_;
};

}  // namespace kasane::cli
