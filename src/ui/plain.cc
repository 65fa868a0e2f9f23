// Plain progress (E02): one step speaks at a time; others wait until it ends, or take over
// when it has been shown for long and they have something to say.
#include "ui/plain.h"

#include <fmt/format.h>

#include "base/diagnostic.h"

namespace kasane::ui {
namespace {

constexpr auto kMaxWait = std::chrono::seconds(10);
constexpr auto kProgressInterval = std::chrono::seconds(1);
constexpr size_t kMaxPending = 1u << 20;  // bytes kept of a step that waits for its turn

}  // namespace

void PlainProgress::on_event(const Event& event) noexcept {
  if (event.type == Event::Type::kWarning) {
    warnings_.emplace_back(event.text);
    return;
  }
  if (event.type == Event::Type::kStart) return start(event);
  Step* step = find(event.span);
  if (!step) return;
  switch (event.type) {
    case Event::Type::kProgress:
      progress(*step, event);
      break;
    case Event::Type::kLog:
      step->splitter.add(event.text, [&](std::string_view line) { log(*step, event.time, line); });
      break;
    case Event::Type::kEnd:
      end(*step, event);
      break;
    default:
      break;
  }
}

void PlainProgress::start(const Event& event) {
  auto parent = steps_.find(event.parent);
  if (event.parent != 0 && parent != steps_.end()) {  // shown as a status line of its parent
    children_[event.span] = {event.parent, std::string(event.name)};
    return;
  }
  Step& step = steps_[event.span];
  step.name = event.name;
  step.started = event.time;
  if (current_ == 0) show(event.span, step);
}

PlainProgress::Step* PlainProgress::find(SpanId span) {
  if (auto child = children_.find(span); child != children_.end()) span = child->second.first;
  auto step = steps_.find(span);
  return step == steps_.end() ? nullptr : &step->second;
}

std::string PlainProgress::stamp(const Step& step, Time time) const {
  return fmt::format("{:.3f} ", seconds_between(step.started, time));
}

void PlainProgress::log(Step& step, Time time, std::string_view line) {
  std::string text = stamp(step, time).append(line);
  say(step, time, text);
  step.tail.add(std::move(text));
}

void PlainProgress::progress(Step& step, const Event& event) {
  step.transferred = event.current;
  if (event.time - step.last_progress < kProgressInterval) return;
  const bool first = step.last_progress == Time{};
  step.last_progress = event.time;
  if (first) return;  // what takes less than a second is only summed up at the end
  std::string text = size_text(event.current);
  if (event.total > 0) text += " / " + size_text(event.total);
  say(step, event.time, fmt::format("{} {:.1f}s", text, seconds_between(step.started, event.time)));
}

// One line of a step: printed when it is the step's turn, kept otherwise.
void PlainProgress::say(Step& step, Time time, std::string text) {
  if (&step != current_step() && current_ != 0) {
    if (step.pending.empty()) step.waiting_since = time;
    step.pending_bytes += text.size();
    step.pending.push_back(std::move(text));
    while (step.pending_bytes > kMaxPending) {
      step.pending_bytes -= step.pending.front().size();
      step.pending.pop_front();
      step.dropped = true;
    }
    if (time - step.waiting_since >= kMaxWait) show(id_of(step), step);
    return;
  }
  show(id_of(step), step);
  write_line(step, text);
}

PlainProgress::Step* PlainProgress::current_step() {
  auto found = steps_.find(current_);
  return found == steps_.end() ? nullptr : &found->second;
}

SpanId PlainProgress::id_of(const Step& step) const {
  for (const auto& [id, candidate] : steps_)
    if (&candidate == &step) return id;
  return 0;
}

void PlainProgress::write_line(const Step& step, std::string_view text) {
  write_quietly(out_, fmt::format("#{} {}\n", step.index, text));
}

// Makes it the current step: header when it was not, then what it kept back.
void PlainProgress::show(SpanId id, Step& step) {
  if (step.index == 0) step.index = ++last_index_;
  if (current_ != id) {
    if (Step* old = current_step(); old && !old->ended) write_line(*old, "...");
    if (anything_) write_quietly(out_, "\n");
    anything_ = true;
    write_line(step, sanitize(step.name));
    current_ = id;
  }
  if (step.dropped) write_line(step, "... (earlier lines left out)");
  step.dropped = false;
  for (const std::string& line : step.pending) write_line(step, line);
  step.pending.clear();
  step.pending_bytes = 0;
}

void PlainProgress::end(Step& step, const Event& event) {
  if (auto child = children_.find(event.span); child != children_.end()) {
    if (event.outcome == Event::Outcome::kDone)
      say(step, event.time, sanitize(child->second.second) + " done");
    children_.erase(child);
    return;
  }
  step.splitter.flush([&](std::string_view line) { log(step, event.time, line); });
  show(event.span, step);
  if (step.transferred > 0) write_line(step, fmt::format("{} done", size_text(step.transferred)));
  switch (event.outcome) {
    case Event::Outcome::kDone:
      write_line(step, fmt::format("DONE {:.1f}s", seconds_between(step.started, event.time)));
      break;
    case Event::Outcome::kCached:
      write_line(step, "CACHED");
      break;
    case Event::Outcome::kError:
      write_line(step,
                 "ERROR: " + (event.error ? sanitize(event.error->full_message()) : "failed"));
      failed_.push_back(error_tail(step.name, step.tail.lines));
      break;
    case Event::Outcome::kCancelled:
      write_line(step, "CANCELED");
      break;
  }
  step.ended = true;
  steps_.erase(event.span);
  current_ = 0;
  // The step that has waited longest with something to say goes on.
  SpanId next = 0;
  for (auto& [id, other] : steps_)
    if (!other.pending.empty() && (next == 0 || other.waiting_since < steps_[next].waiting_since))
      next = id;
  if (next != 0) show(next, steps_[next]);
}

void PlainProgress::finish() noexcept {
  for (const std::string& tail : failed_) write_quietly(out_, tail);
  failed_.clear();
  write_quietly(out_, warning_list(warnings_));
  warnings_.clear();
}

}  // namespace kasane::ui
