#include "ui/progress.h"

#include <gtest/gtest.h>

#include "base/stream.h"
#include "ui/width.h"

namespace kasane::ui {
namespace {

using std::chrono::milliseconds;

// A made-up stream of events with made-up times.
class Script {
 public:
  Script(ProgressMode mode) : progress_(make_progress(mode, {&sink_, -1, false})) {}

  void start(SpanId id, std::string_view name, SpanId parent = 0) {
    Event event = make(Event::Type::kStart, id);
    event.name = name;
    event.parent = parent;
    progress_->on_event(event);
  }
  void log(SpanId id, std::string_view text) {
    Event event = make(Event::Type::kLog, id);
    event.text = text;
    progress_->on_event(event);
  }
  void move(SpanId id, uint64_t current, uint64_t total) {
    Event event = make(Event::Type::kProgress, id);
    event.current = current;
    event.total = total;
    progress_->on_event(event);
  }
  void end(SpanId id, Event::Outcome outcome, const Error* error = nullptr) {
    Event event = make(Event::Type::kEnd, id);
    event.outcome = outcome;
    event.error = error;
    progress_->on_event(event);
  }
  void warn(std::string_view text) {
    Event event = make(Event::Type::kWarning, 0);
    event.text = text;
    progress_->on_event(event);
  }
  void wait(int ms) { now_ += milliseconds(ms); }
  const std::string& finish() {
    progress_->finish();
    return sink_.text;
  }
  const std::string& text() const { return sink_.text; }

 private:
  Event make(Event::Type type, SpanId id) const {
    Event event;
    event.type = type;
    event.span = id;
    event.time = now_;
    return event;
  }
  StringSink sink_;
  std::unique_ptr<Progress> progress_;
  std::chrono::steady_clock::time_point now_{std::chrono::seconds(1000)};
};

TEST(Plain, OneStepAfterTheOther) {
  Script script(ProgressMode::kPlain);
  script.start(1, "[internal] load build definition from Dockerfile");
  script.wait(20);
  script.end(1, Event::Outcome::kDone);
  script.start(2, "[1/2] FROM debian");
  script.end(2, Event::Outcome::kCached);
  script.start(3, "[2/2] RUN echo hi");
  script.wait(123);
  script.log(3, "hi\nthe");
  script.wait(100);
  script.log(3, "re\n");
  script.wait(27);
  script.end(3, Event::Outcome::kDone);
  EXPECT_EQ(script.finish(),
            "#1 [internal] load build definition from Dockerfile\n"
            "#1 DONE 0.0s\n"
            "\n"
            "#2 [1/2] FROM debian\n"
            "#2 CACHED\n"
            "\n"
            "#3 [2/2] RUN echo hi\n"
            "#3 0.123 hi\n"
            "#3 0.223 there\n"
            "#3 DONE 0.2s\n");
}

TEST(Plain, ParallelStepsTakeTurns) {
  Script script(ProgressMode::kPlain);
  script.start(1, "[a 1/1] RUN a");
  script.start(2, "[b 1/1] RUN b");
  script.log(1, "a1\n");
  script.log(2, "b1\n");
  script.log(1, "a2\n");
  script.end(1, Event::Outcome::kDone);
  script.log(2, "b2\n");
  script.start(3, "[c] COPY");
  script.end(3, Event::Outcome::kCached);
  script.end(2, Event::Outcome::kCancelled);
  EXPECT_EQ(script.finish(),
            "#1 [a 1/1] RUN a\n"
            "#1 0.000 a1\n"
            "#1 0.000 a2\n"
            "#1 DONE 0.0s\n"
            "\n"
            "#2 [b 1/1] RUN b\n"
            "#2 0.000 b1\n"
            "#2 0.000 b2\n"
            "#2 ...\n"
            "\n"
            "#3 [c] COPY\n"
            "#3 CACHED\n"
            "\n"
            "#2 [b 1/1] RUN b\n"
            "#2 CANCELED\n");
}

TEST(Plain, AStepThatWaitedTenSecondsSpeaks) {
  Script script(ProgressMode::kPlain);
  script.start(1, "A");
  script.start(2, "B");
  script.log(2, "b1\n");
  script.wait(5000);
  script.log(2, "b2\n");
  EXPECT_EQ(script.text(), "#1 A\n");
  script.wait(6000);
  script.log(2, "b3\n");
  EXPECT_EQ(script.text(), "#1 A\n#1 ...\n\n#2 B\n#2 0.000 b1\n#2 5.000 b2\n#2 11.000 b3\n");
}

TEST(Plain, FailureEndsWithTheLastTenLines) {
  Script script(ProgressMode::kPlain);
  Error error(ErrorKind::kStepFailed,
              "process \"/bin/sh -c false\" did not complete successfully: exit code: 1");
  script.start(1, "[2/2] RUN false");
  for (int i = 1; i <= 12; ++i) script.log(1, std::to_string(i) + "\n");
  script.log(1, "no newline");
  script.end(1, Event::Outcome::kError, &error);
  const std::string text = script.finish();
  EXPECT_NE(
      text.find(
          "#1 ERROR: process \"/bin/sh -c false\" did not complete successfully: exit code: 1\n"),
      std::string::npos);
  EXPECT_TRUE(
      text.ends_with("------\n > [2/2] RUN false:\n0.000 4\n0.000 5\n0.000 6\n0.000 7\n0.000 8\n"
                     "0.000 9\n0.000 10\n0.000 11\n0.000 12\n0.000 no newline\n------\n"))
      << text;
}

TEST(Plain, ProgressChildrenAndWarnings) {
  Script script(ProgressMode::kPlain);
  script.start(1, "load archive");
  script.start(2, "layer abc", 1);
  script.move(2, 100, 4000);
  script.wait(1500);
  script.move(2, 2000, 4000);
  script.end(2, Event::Outcome::kDone);
  script.end(1, Event::Outcome::kDone);
  script.warn("LegacyKeyValueFormat: use = (line 3)");
  EXPECT_EQ(script.finish(),
            "#1 load archive\n"
            "#1 2.00kB / 4.00kB 1.5s\n"
            "#1 layer abc done\n"
            "#1 2.00kB done\n"
            "#1 DONE 1.5s\n"
            "\n 1 warning found:\n - LegacyKeyValueFormat: use = (line 3)\n");
}

TEST(Plain, NamesCannotMoveTheCursor) {
  Script script(ProgressMode::kPlain);
  script.start(1, "RUN \x1b[2Jx");
  EXPECT_EQ(script.text(), "#1 RUN \\x1b[2Jx\n");
}

TEST(Quiet, NothingOnSuccessEverythingOnFailure) {
  Script script(ProgressMode::kQuiet);
  Error error(ErrorKind::kStepFailed, "x");
  script.start(1, "good");
  script.log(1, "unseen\n");
  script.end(1, Event::Outcome::kDone);
  script.start(2, "bad");
  for (int i = 0; i < 12; ++i) script.log(2, std::to_string(i) + "\n");
  EXPECT_EQ(script.text(), "");
  script.end(2, Event::Outcome::kError, &error);
  EXPECT_EQ(script.finish(), "------\n > bad:\n0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n------\n");
}

TEST(RawJson, OneDocumentPerLine) {
  Script script(ProgressMode::kRawJson);
  script.start(1, "a \"b\"");
  script.log(1, "hi\n");
  script.end(1, Event::Outcome::kCached);
  const std::string& text = script.finish();
  EXPECT_NE(text.find("\"name\":\"a \\\"b\\\"\""), std::string::npos) << text;
  EXPECT_NE(text.find("\"data\":\"aGkK\""), std::string::npos) << text;
  EXPECT_NE(text.find("\"cached\":true"), std::string::npos) << text;
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 3);
}

TEST(Tty, LastFrameShowsAllStepsCutToTheWidth) {
  Script script(ProgressMode::kTty);
  script.start(1, "[1/2] FROM debian");
  script.end(1, Event::Outcome::kCached);
  script.start(2, "[2/2] RUN " + std::string(200, 'x'));
  script.log(2, "hidden \x1b[31mred\n");
  script.wait(1500);
  script.end(2, Event::Outcome::kDone);
  const std::string& text = script.finish();
  const size_t frame = text.rfind("[+] Building");
  ASSERT_NE(frame, std::string::npos);
  const std::string last = text.substr(frame);
  EXPECT_NE(last.find("(2/2) FINISHED"), std::string::npos) << last;
  EXPECT_NE(last.find(" => CACHED [1/2] FROM debian "), std::string::npos) << last;
  EXPECT_NE(last.find("x… 1.5s"), std::string::npos) << last;
  EXPECT_EQ(last.find("hidden"), std::string::npos) << last;
}

TEST(Tty, FailedStepLeavesItsTail) {
  Script script(ProgressMode::kTty);
  Error error(ErrorKind::kStepFailed, "x");
  script.start(1, "RUN false");
  script.log(1, "why\n");
  script.end(1, Event::Outcome::kError, &error);
  const std::string& text = script.finish();
  EXPECT_NE(text.find(" => ERROR RUN false"), std::string::npos);
  EXPECT_TRUE(text.ends_with("------\n > RUN false:\n0.000 why\n------\n")) << text;
}

TEST(Progress, Words) {
  ProgressMode mode;
  EXPECT_TRUE(parse_progress("auto", true, mode) && mode == ProgressMode::kTty);
  EXPECT_TRUE(parse_progress("auto", false, mode) && mode == ProgressMode::kPlain);
  EXPECT_TRUE(parse_progress("tty", false, mode) && mode == ProgressMode::kPlain);
  EXPECT_TRUE(parse_progress("none", true, mode) && mode == ProgressMode::kQuiet);
  EXPECT_FALSE(parse_progress("fancy", true, mode));
}

TEST(Width, CountsColumns) {
  EXPECT_EQ(display_width("abc"), 3u);
  EXPECT_EQ(display_width("日本"), 4u);
  EXPECT_EQ(display_width("e\xcc\x81"), 1u);
  EXPECT_EQ(display_width("\xff"), 1u);
  EXPECT_EQ(truncate_columns("日本語", 5, "…"), "日本…");
  EXPECT_EQ(truncate_columns("日本語", 4, "…"), "日…");
  EXPECT_EQ(truncate_columns("abc", 3, "…"), "abc");
  EXPECT_EQ(truncate_columns("abcd", 3, "…"), "ab…");
  EXPECT_EQ(truncate_columns("abc", 0, "…"), "");
}

}  // namespace
}  // namespace kasane::ui
