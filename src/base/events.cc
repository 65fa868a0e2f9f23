#include "base/events.h"

namespace kasane {

void EventBus::subscribe(EventSink* sink) {
  std::lock_guard lock(mutex_);
  sinks_.push_back(sink);
}

SpanId EventBus::next_id() {
  std::lock_guard lock(mutex_);
  return ++last_id_;
}

void EventBus::emit(const Event& event) noexcept {
  Event stamped = event;
  stamped.time = std::chrono::steady_clock::now();
  std::lock_guard lock(mutex_);
  for (EventSink* sink : sinks_) sink->on_event(stamped);
}

void EventBus::warn(std::string_view text) noexcept {
  Event event;
  event.type = Event::Type::kWarning;
  event.text = text;
  emit(event);
}

Span::Span(EventBus& bus, std::string_view name, SpanId parent)
    : bus_(&bus), id_(bus.next_id()), parent_(parent) {
  Event event;
  event.type = Event::Type::kStart;
  event.span = id_;
  event.parent = parent_;
  event.name = name;
  bus_->emit(event);
}

Span::Span(Span&& other) noexcept : bus_(other.bus_), id_(other.id_), parent_(other.parent_) {
  other.bus_ = nullptr;
}

Span::~Span() { finish(Event::Outcome::kCancelled, nullptr); }

void Span::log(std::string_view text, int stream) noexcept {
  Event event;
  event.type = Event::Type::kLog;
  event.span = id_;
  event.text = text;
  event.stream = stream;
  if (bus_) bus_->emit(event);
}

void Span::progress(uint64_t current, uint64_t total) noexcept {
  Event event;
  event.type = Event::Type::kProgress;
  event.span = id_;
  event.current = current;
  event.total = total;
  if (bus_) bus_->emit(event);
}

void Span::finish(Event::Outcome outcome, const Error* error) noexcept {
  if (!bus_) return;
  Event event;
  event.type = Event::Type::kEnd;
  event.span = id_;
  event.parent = parent_;
  event.outcome = outcome;
  event.error = error;
  bus_->emit(event);
  bus_ = nullptr;
}

}  // namespace kasane
