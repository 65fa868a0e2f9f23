// The one renderer of errors and warnings: message, Dockerfile excerpt with caret,
// hint. Build, lint and parse errors look alike because they all come through here.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"

namespace kasane {

struct RenderOptions {
  bool color = false;
  std::string prefix = "ERROR: ";
};

// "Dockerfile:3\n------\n   2 |     ...\n   3 | >>> RUN ...\n     |         ^~~~\n------".
// One blamed line gets two lines of context on each side, several get one
// (BuildKit's solver/errdefs form, with a caret line added).
std::string render_excerpt(const SourceSpan& span);

// Excerpt (when there is a span), then prefix + full_message(), then the hint.
// Ends with a newline. Control bytes of untrusted text are escaped.
std::string render_error(const Error& error, const RenderOptions& options = {});

// Replaces control bytes (but not tab and newline when allow_newline), controls of C1 and
// marks of direction by \xNN.
std::string sanitize(std::string_view text, bool allow_newline = false);

// Best candidate within an edit distance that a typo would have; empty if none.
std::string nearest_name(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace kasane
