#include "ui/progress.h"

#include "ui/plain.h"
#include "ui/sinks.h"

namespace kasane::ui {

bool parse_progress(std::string_view word, bool terminal, ProgressMode& mode) {
  if (word.empty() || word == "auto" || word == "tty")
    mode = terminal ? ProgressMode::kTty : ProgressMode::kPlain;
  else if (word == "plain")
    mode = ProgressMode::kPlain;
  else if (word == "quiet" || word == "none")
    mode = ProgressMode::kQuiet;
  else if (word == "rawjson")
    mode = ProgressMode::kRawJson;
  else
    return false;
  return true;
}

std::unique_ptr<Progress> make_progress(ProgressMode mode, const ProgressOptions& options) {
  switch (mode) {
    case ProgressMode::kTty:
      return make_tty_progress(options);
    case ProgressMode::kPlain:
      return std::make_unique<PlainProgress>(options);
    case ProgressMode::kQuiet:
      return make_quiet_progress(options);
    case ProgressMode::kRawJson:
      return make_rawjson_progress(options);
  }
  return nullptr;
}

}  // namespace kasane::ui
