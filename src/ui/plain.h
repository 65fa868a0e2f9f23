// Plain progress: "#N name", "#N 0.123 text", "#N DONE 0.1s". See progress.h.
#pragma once

#include <deque>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "ui/progress.h"
#include "ui/step_log.h"

namespace kasane::ui {

// Called under the event bus's lock only.
class PlainProgress : public Progress {
 public:
  explicit PlainProgress(const ProgressOptions& options) : out_(options.out) {}
  void on_event(const Event& event) noexcept override;
  void finish() noexcept override;

 private:
  struct Step {
    std::string name;
    int index = 0;  // given at the first line, so numbers rise in the log
    Time started{};
    Time last_progress{};
    Time waiting_since{};
    uint64_t transferred = 0;
    LineSplitter splitter;
    Tail tail;
    std::deque<std::string> pending;
    size_t pending_bytes = 0;
    bool dropped = false;
    bool ended = false;
  };

  void start(const Event& event);
  void progress(Step& step, const Event& event);
  void log(Step& step, Time time, std::string_view line);
  void end(Step& step, const Event& event);
  void say(Step& step, Time time, std::string text);
  void show(SpanId id, Step& step);
  void write_line(const Step& step, std::string_view text);
  Step* find(SpanId span);
  Step* current_step();
  SpanId id_of(const Step& step) const;
  std::string stamp(const Step& step, Time time) const;

  ByteSink* out_;
  std::map<SpanId, Step> steps_;                               // running ones
  std::map<SpanId, std::pair<SpanId, std::string>> children_;  // span → parent, name
  SpanId current_ = 0;
  int last_index_ = 0;
  bool anything_ = false;
  std::vector<std::string> failed_;
  std::vector<std::string> warnings_;
};

}  // namespace kasane::ui
