// The one event stream. Emitters open Spans; ui, logs and tests subscribe.
// Nobody else prints progress.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace kasane {

using SpanId = uint64_t;  // 0 = no span

struct Event {
  enum class Type { kStart, kProgress, kLog, kEnd, kWarning };
  enum class Outcome { kDone, kCached, kError, kCancelled };

  Type type = Type::kLog;
  SpanId span = 0;
  SpanId parent = 0;
  std::chrono::steady_clock::time_point time{};
  std::string_view name;     // kStart: "[builder 2/4] RUN npm ci"
  std::string_view text;     // kLog: raw bytes of the step; kWarning: one sentence
  int stream = 1;            // kLog: 1 stdout, 2 stderr
  uint64_t current = 0;      // kProgress, in bytes unless the name says otherwise
  uint64_t total = 0;        // kProgress; 0 = unknown
  Outcome outcome = Outcome::kDone;  // kEnd
  const Error* error = nullptr;      // kEnd with kError
};

// Receives events one at a time (the bus serialises). Must not throw or block long.
class EventSink {
 public:
  virtual ~EventSink() = default;
  virtual void on_event(const Event& event) noexcept = 0;
};

// Thread-safe. Sinks are owned by the caller and must outlive the bus.
class EventBus {
 public:
  void subscribe(EventSink* sink);
  SpanId next_id();
  void emit(const Event& event) noexcept;
  void warn(std::string_view text) noexcept;

 private:
  std::mutex mutex_;
  std::vector<EventSink*> sinks_;
  SpanId last_id_ = 0;
};

// RAII span: emits kStart on construction and kEnd on destruction (kCancelled when
// nobody ended it). Move-only; used by one thread at a time.
class Span {
 public:
  Span(EventBus& bus, std::string_view name, SpanId parent = 0);
  Span(Span&& other) noexcept;
  Span& operator=(Span&&) = delete;
  ~Span();

  SpanId id() const { return id_; }
  void log(std::string_view text, int stream = 1) noexcept;
  void progress(uint64_t current, uint64_t total) noexcept;
  void done() noexcept { finish(Event::Outcome::kDone, nullptr); }
  void cached() noexcept { finish(Event::Outcome::kCached, nullptr); }
  void fail(const Error& error) noexcept { finish(Event::Outcome::kError, &error); }

 private:
  void finish(Event::Outcome outcome, const Error* error) noexcept;
  EventBus* bus_;
  SpanId id_;
  SpanId parent_;
};

}  // namespace kasane
