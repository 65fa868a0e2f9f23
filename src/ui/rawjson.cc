// One SolveStatus document per line, members as BuildKit's client prints them.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/base64.h"
#include "base/hash.h"
#include "ui/sinks.h"
#include "ui/step_log.h"

namespace kasane::ui {
namespace {

// Bytes of the rune that `text` begins with; 0 when it is not UTF-8.
size_t rune_size(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const size_t size = byte(0) < 0x80 ? 1 : byte(0) >= 0xf0 ? 4 : byte(0) >= 0xe0 ? 3 : 2;
  if (size > text.size() || (size > 1 && byte(0) < 0xc2) || byte(0) > 0xf4) return 0;
  for (size_t i = 1; i < size; ++i)
    if ((byte(i) & 0xc0) != 0x80) return 0;
  // Overlong forms, surrogates, and what lies beyond the last plane.
  const bool wrong = (byte(0) == 0xe0 && byte(1) < 0xa0) || (byte(0) == 0xed && byte(1) > 0x9f) ||
                     (byte(0) == 0xf0 && byte(1) < 0x90) || (byte(0) == 0xf4 && byte(1) > 0x8f);
  return wrong ? 0 : size;
}

// Names come from Dockerfiles, which may hold any bytes.
std::string json_text(std::string_view text) {
  std::string out = "\"";
  for (size_t i = 0; i < text.size();) {
    const size_t size = rune_size(text.substr(i));
    if (size != 1) {
      out += size == 0 ? std::string_view("\ufffd") : text.substr(i, size);
      i += std::max<size_t>(size, 1);
      continue;
    }
    const unsigned char c = static_cast<unsigned char>(text[i++]);
    if (c == '"' || c == '\\')
      out += fmt::format("\\{}", static_cast<char>(c));
    else if (c < 0x20 || c == 0x7f)
      out += fmt::format("\\u{:04x}", c);
    else
      out += static_cast<char>(c);
  }
  return out + '"';
}

class RawJsonProgress : public Progress {
 public:
  explicit RawJsonProgress(const ProgressOptions& options)
      : out_(options.out),
        wall_(std::chrono::system_clock::now()),
        steady_(std::chrono::steady_clock::now()) {}

  void on_event(const Event& event) noexcept override {
    switch (event.type) {
      case Event::Type::kStart: {
        Step& step = steps_[event.span];
        step.name = json_text(event.name);
        step.digest = sha256(fmt::format("kasane vertex {} {}", event.span, event.name)).str();
        step.started = timestamp(event.time);
        vertex(step, "");
        break;
      }
      case Event::Type::kLog:
        if (const Step* step = find(event.span))
          line(fmt::format(
              R"({{"logs":[{{"vertex":"{}","stream":{},"data":"{}","timestamp":"{}"}}]}})",
              step->digest, event.stream, base64(event.text), timestamp(event.time)));
        break;
      case Event::Type::kProgress:
        if (const Step* step = find(event.span))
          line(fmt::format(
              R"({{"statuses":[{{"id":"transferring","vertex":"{}","current":{},"total":{},"timestamp":"{}"}}]}})",
              step->digest, event.current, event.total, timestamp(event.time)));
        break;
      case Event::Type::kEnd:
        end(event);
        break;
      case Event::Type::kWarning:
        line(fmt::format(R"({{"warnings":[{{"short":"{}"}}]}})", base64(event.text)));
        break;
    }
  }

  void finish() noexcept override {}

 private:
  struct Step {
    std::string name, digest, started;
  };

  const Step* find(SpanId span) const {
    auto step = steps_.find(span);
    return step == steps_.end() ? nullptr : &step->second;
  }

  void end(const Event& event) {
    const Step* step = find(event.span);
    if (!step) return;
    std::string more = fmt::format(R"(,"completed":"{}")", timestamp(event.time));
    if (event.outcome == Event::Outcome::kCached) more += R"(,"cached":true)";
    if (event.outcome == Event::Outcome::kCancelled) more += R"(,"error":"context canceled")";
    if (event.outcome == Event::Outcome::kError)
      more += fmt::format(R"(,"error":{})",
                          json_text(event.error ? event.error->full_message() : "failed"));
    vertex(*step, more);
    steps_.erase(event.span);
  }

  void vertex(const Step& step, std::string_view more) {
    line(fmt::format(R"({{"vertexes":[{{"digest":"{}","name":{},"started":"{}"{}}}]}})",
                     step.digest, step.name, step.started, more));
  }

  void line(std::string text) { write_quietly(out_, text + "\n"); }

  std::string timestamp(Time time) const {
    auto wall =
        wall_ + std::chrono::duration_cast<std::chrono::system_clock::duration>(time - steady_);
    auto ns = std::chrono::duration_cast<std::chrono::nanoseconds>(wall.time_since_epoch()).count();
    time_t seconds = static_cast<time_t>(ns / 1'000'000'000);
    tm fields = {};
    gmtime_r(&seconds, &fields);
    return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:09}Z", fields.tm_year + 1900,
                       fields.tm_mon + 1, fields.tm_mday, fields.tm_hour, fields.tm_min,
                       fields.tm_sec, ns % 1'000'000'000);
  }

  ByteSink* out_;
  std::chrono::system_clock::time_point wall_;
  Time steady_;
  std::map<SpanId, Step> steps_;
};

}  // namespace

std::unique_ptr<Progress> make_rawjson_progress(const ProgressOptions& options) {
  return std::make_unique<RawJsonProgress>(options);
}

}  // namespace kasane::ui
