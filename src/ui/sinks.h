// Constructors of the sinks that need no header of their own.
#pragma once

#include <memory>

#include "ui/progress.h"

namespace kasane::ui {

std::unique_ptr<Progress> make_quiet_progress(const ProgressOptions& options);
std::unique_ptr<Progress> make_rawjson_progress(const ProgressOptions& options);
std::unique_ptr<Progress> make_tty_progress(const ProgressOptions& options);

}  // namespace kasane::ui
