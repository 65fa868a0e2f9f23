// Terminal progress (E03): a window of lines below the cursor, drawn again ten times a
// second; what is finished for good scrolls away only when the screen is too small.
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>
#include <vector>

#include "base/diagnostic.h"
#include "ui/sinks.h"
#include "ui/step_log.h"
#include "ui/width.h"

namespace kasane::ui {
namespace {

constexpr auto kFrame = std::chrono::milliseconds(100);
constexpr size_t kBarColumns = 20;
constexpr size_t kLogLines = 6;  // of each running step

// A log line that cannot move the cursor: escape sequences and controls are dropped, only
// what stands after the last carriage return shows (progress bars).
std::string printable_line(std::string_view line) {
  while (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  if (size_t start = line.rfind('\r'); start != std::string_view::npos)
    line.remove_prefix(start + 1);
  std::string out;
  for (size_t i = 0; i < line.size(); ++i) {
    unsigned char c = static_cast<unsigned char>(line[i]);
    if (c == 0x1b && i + 1 < line.size() && line[i + 1] == '[') {
      for (i += 2; i < line.size() && (line[i] < 0x40 || line[i] > 0x7e);) ++i;
    } else if (c == 0x1b) {
      ++i;
    } else if (c == '\t') {
      out += "    ";
    } else if (c >= 0x20 && c != 0x7f) {
      out += static_cast<char>(c);
    }
  }
  return out;
}

class TtyProgress : public Progress {
 public:
  explicit TtyProgress(const ProgressOptions& options)
      : options_(options), begun_(std::chrono::steady_clock::now()) {
    ticker_ = std::jthread([this](std::stop_token stop) { tick(stop); });
  }

  ~TtyProgress() override { stop(); }

  void on_event(const Event& event) noexcept override {
    std::lock_guard lock(mutex_);
    switch (event.type) {
      case Event::Type::kWarning:
        warnings_.emplace_back(event.text);
        return;
      case Event::Type::kStart:
        return start(event);
      case Event::Type::kProgress:
        if (Step* step = find(event.span)) {
          step->current = event.current;
          step->total = event.total;
        }
        return;
      case Event::Type::kLog:
        if (Step* step = find(event.span))
          step->splitter.add(event.text,
                             [&](std::string_view line) { step->log(event.time, line); });
        return;
      case Event::Type::kEnd:
        return end(event);
    }
  }

  void finish() noexcept override {
    stop();
    std::lock_guard lock(mutex_);
    if (finished_) return;
    finished_ = true;
    draw(true);
    for (const Step& step : steps_)
      if (step.outcome == Event::Outcome::kError)
        write_quietly(options_.out, error_tail(step.name, step.tail.lines));
    write_quietly(options_.out, warning_list(warnings_));
  }

 private:
  struct Step {
    SpanId id = 0;
    bool child = false;
    std::string name;
    Time started{};
    Time ended{};
    std::optional<Event::Outcome> outcome;
    uint64_t current = 0, total = 0;
    LineSplitter splitter;
    Tail tail;                        // with times
    std::deque<std::string> visible;  // last lines, printable

    void log(Time time, std::string_view line) {
      tail.add(fmt::format("{:.3f} {}", seconds_between(started, time), line));
      visible.push_back(printable_line(line));
      if (visible.size() > kLogLines) visible.pop_front();
    }
  };

  void start(const Event& event) {
    Step step;
    step.id = event.span;
    step.child = event.parent != 0;
    step.name = event.name;
    step.started = event.time;
    auto place = steps_.end();
    if (step.child) {  // below its parent and the parent's other children
      place = std::find_if(steps_.begin(), steps_.end(),
                           [&](const Step& other) { return other.id == event.parent; });
      if (place != steps_.end()) ++place;
      while (place != steps_.end() && place->child) ++place;
    }
    steps_.insert(place, std::move(step));
  }

  void end(const Event& event) {
    Step* step = find(event.span);
    if (!step) return;
    step->splitter.flush([&](std::string_view line) { step->log(event.time, line); });
    step->outcome = event.outcome;
    step->ended = event.time;
  }

  Step* find(SpanId span) {
    for (Step& step : steps_)
      if (step.id == span) return &step;
    return nullptr;
  }

  void stop() {
    ticker_.request_stop();
    if (ticker_.joinable()) ticker_.join();
  }

  void tick(std::stop_token stop) {
    std::unique_lock lock(mutex_);
    std::condition_variable_any wake;
    while (!stop.stop_requested()) {
      wake.wait_for(lock, stop, kFrame, [] { return false; });
      if (!stop.stop_requested()) draw(false);
    }
  }

  winsize window() const {
    winsize size = {};
    if (options_.window_fd < 0 || ioctl(options_.window_fd, TIOCGWINSZ, &size) != 0 ||
        size.ws_col == 0 || size.ws_row == 0) {
      size.ws_col = 80;
      size.ws_row = 24;
    }
    return size;
  }

  // Left text cut to the width, time at the right edge.
  static std::string row(std::string_view left, std::string_view right, size_t columns) {
    const size_t room = columns > right.size() + 1 ? columns - right.size() - 1 : 0;
    std::string text = truncate_columns(left, room, "…");
    text.append(room - std::min(room, display_width(text)) + 1, ' ');
    return text.append(right);
  }

  std::string step_row(const Step& step, Time now, size_t columns) const {
    std::string left = step.child ? " => => " : " => ";
    if (step.outcome == Event::Outcome::kCached) left += "CACHED ";
    if (step.outcome == Event::Outcome::kError) left += "ERROR ";
    if (step.outcome == Event::Outcome::kCancelled) left += "CANCELED ";
    left += sanitize(step.name);
    std::string right =
        fmt::format("{:.1f}s", seconds_between(step.started, step.outcome ? step.ended : now));
    if (step.current > 0) {
      std::string done = size_text(step.current);
      if (step.total > 0) done += " / " + size_text(step.total);
      if (step.total > 0 && !step.outcome) done = bar(step.current, step.total) + " " + done;
      right = done + "  " + right;
    }
    return colored(row(left, right, columns), step);
  }

  // "[=====>    ]": of a transfer whose size is known.
  static std::string bar(uint64_t current, uint64_t total) {
    const double part = std::min(1.0, static_cast<double>(current) / static_cast<double>(total));
    const size_t filled = static_cast<size_t>(part * kBarColumns);
    std::string text(filled, '=');
    if (filled < kBarColumns) text += '>';
    text.resize(kBarColumns, ' ');
    return "[" + text + "]";
  }

  std::string colored(std::string text, const Step& step) const {
    if (!options_.color || !step.outcome) return text;
    const char* code = *step.outcome == Event::Outcome::kError       ? "31"
                       : *step.outcome == Event::Outcome::kCancelled ? "33"
                                                                     : "34";
    return fmt::format("\x1b[{}m{}\x1b[0m", code, text);
  }

  std::vector<std::string> lines(bool last, Time now, size_t columns, size_t height) const {
    size_t done = 0;
    size_t all = 0;
    std::vector<std::string> rows;
    for (const Step& step : steps_) {
      all += step.child ? 0 : 1;
      done += step.outcome && !step.child ? 1 : 0;
      if (step.child && step.outcome && *step.outcome != Event::Outcome::kError) continue;
      rows.push_back(step_row(step, now, columns));
      if (step.outcome) continue;
      for (const std::string& line : step.visible)
        rows.push_back(truncate_columns(" => => # " + line, columns));
    }
    std::string title =
        fmt::format("[+] Building {:.1f}s ({}/{})", seconds_between(begun_, now), done, all);
    if (last) title += " FINISHED";
    // A window taller than the screen could not be drawn again in place.
    if (!last && rows.size() + 2 > height)
      rows.erase(rows.begin(),
                 rows.end() - static_cast<std::ptrdiff_t>(height > 3 ? height - 3 : 1));
    rows.insert(rows.begin(), truncate_columns(title, columns));
    return rows;
  }

  void draw(bool last) {
    const winsize size = window();
    std::vector<std::string> rows =
        lines(last, std::chrono::steady_clock::now(), size.ws_col, size.ws_row);
    std::string frame = "\x1b[?25l";
    if (drawn_ > 0) frame += fmt::format("\x1b[{}A", drawn_);
    for (const std::string& text : rows) frame += "\r" + text + "\x1b[K\n";
    frame += "\x1b[J";
    if (last) frame += "\x1b[?25h";
    drawn_ = rows.size();
    write_quietly(options_.out, frame);
  }

  ProgressOptions options_;
  Time begun_;
  std::mutex mutex_;
  std::vector<Step> steps_;
  std::vector<std::string> warnings_;
  size_t drawn_ = 0;
  bool finished_ = false;
  std::jthread ticker_;  // last: joined before the rest goes
};

}  // namespace

std::unique_ptr<Progress> make_tty_progress(const ProgressOptions& options) {
  return std::make_unique<TtyProgress>(options);
}

}  // namespace kasane::ui
