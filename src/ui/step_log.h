// What the sinks keep of one span. Used under the event bus's lock.
#pragma once

#include <chrono>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/events.h"
#include "base/stream.h"

namespace kasane::ui {

using Time = std::chrono::steady_clock::time_point;

// Splits what a step writes into lines: "\n" ends a line, an endless one is cut.
class LineSplitter {
 public:
  // Calls line(text) for each completed line, without the newline.
  template <class F>
  void add(std::string_view bytes, F&& line) {
    while (!bytes.empty()) {
      size_t newline = bytes.find('\n');
      partial_ += bytes.substr(0, newline);
      if (newline == std::string_view::npos) {
        if (partial_.size() >= kMaxLine) flush(line);
        return;
      }
      std::string whole = std::move(partial_);
      partial_.clear();
      line(std::string_view(whole));
      bytes.remove_prefix(newline + 1);
    }
  }
  template <class F>
  void flush(F&& line) {
    if (partial_.empty()) return;
    std::string whole = std::move(partial_);
    partial_.clear();
    line(std::string_view(whole));
  }

 private:
  static constexpr size_t kMaxLine = 64 << 10;
  std::string partial_;
};

inline double seconds_between(Time from, Time to) {
  return std::chrono::duration<double>(to - from).count();
}

// "4.26MB": transfer figures in progress lines.
std::string size_text(uint64_t bytes);

// The last lines of a step, for the error tail (E06).
struct Tail {
  static constexpr size_t kLines = 10;
  void add(std::string line) {
    lines.push_back(std::move(line));
    if (lines.size() > kLines) lines.pop_front();
  }
  std::deque<std::string> lines;
};

// "------\n > NAME:\n<lines>------\n"
std::string error_tail(std::string_view name, const std::deque<std::string>& lines);

// " 1 warning found:\n - text\n"; empty without warnings.
std::string warning_list(const std::vector<std::string>& warnings);

void write_quietly(ByteSink* out, std::string_view text) noexcept;

}  // namespace kasane::ui
