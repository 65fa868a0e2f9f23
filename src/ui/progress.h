// Progress of a build for people and for programs: sinks of the one event stream, in the
// formats of BuildKit's front end (reference E01-E06), so that what reads those logs can
// read these.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "base/events.h"
#include "base/stream.h"

namespace kasane::ui {

enum class ProgressMode {
  kTty,      // redrawn window
  kPlain,    // #N lines
  kQuiet,    // nothing until a step fails, then everything it said
  kRawJson,  // one JSON document per line
};

// What a user may write: auto, tty, plain, quiet, rawjson, none (= quiet). auto is tty when
// `terminal`, else plain; tty without a terminal is plain too. Empty text is auto.
// Returns false when the word is unknown.
bool parse_progress(std::string_view word, bool terminal, ProgressMode& mode);

struct ProgressOptions {
  ByteSink* out = nullptr;  // not owned; must outlive the sink
  int window_fd = -1;       // terminal whose size counts; -1: 80 x 24
  bool color = false;
};

// Subscribe it, run, then call finish() once, after the last event. Write errors are
// ignored: a closed terminal must not stop a build. on_event comes from any thread.
class Progress : public EventSink {
 public:
  // What remains to be said: last lines of failed steps, warnings.
  virtual void finish() noexcept = 0;
};

std::unique_ptr<Progress> make_progress(ProgressMode mode, const ProgressOptions& options);

}  // namespace kasane::ui
