#include <fmt/format.h>

#include <map>
#include <vector>

#include "base/diagnostic.h"
#include "ui/sinks.h"
#include "ui/step_log.h"

namespace kasane::ui {
namespace {

constexpr size_t kMaxLogBytes = 4u << 20;  // kept of one running step

// Nothing on success; when a step fails, all that it wrote (E05).
class QuietProgress : public Progress {
 public:
  explicit QuietProgress(const ProgressOptions& options) : out_(options.out) {}

  void on_event(const Event& event) noexcept override {
    switch (event.type) {
      case Event::Type::kStart:
        steps_[event.span].name = event.name;
        break;
      case Event::Type::kLog: {
        auto step = steps_.find(event.span);
        if (step == steps_.end()) break;
        std::string& log = step->second.log;
        log += event.text;
        if (log.size() > 2 * kMaxLogBytes) log.erase(0, log.size() - kMaxLogBytes);
        break;
      }
      case Event::Type::kEnd: {
        auto step = steps_.find(event.span);
        if (step == steps_.end()) break;
        if (event.outcome == Event::Outcome::kError) failed_.push_back(std::move(step->second));
        steps_.erase(step);
        break;
      }
      default:
        break;
    }
  }

  void finish() noexcept override {
    for (const Step& step : failed_) {
      std::string text = fmt::format("------\n > {}:\n{}", sanitize(step.name), step.log);
      if (text.back() != '\n') text += '\n';
      write_quietly(out_, text + "------\n");
    }
    failed_.clear();
  }

 private:
  struct Step {
    std::string name;
    std::string log;
  };
  ByteSink* out_;
  std::map<SpanId, Step> steps_;
  std::vector<Step> failed_;
};

}  // namespace

std::unique_ptr<Progress> make_quiet_progress(const ProgressOptions& options) {
  return std::make_unique<QuietProgress>(options);
}

}  // namespace kasane::ui
