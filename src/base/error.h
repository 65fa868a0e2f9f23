// Error: what failed, on what, why, and what to do next, as data. It is rendered
// once, by base/diagnostic.h, for the terminal or for JSON.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/source.h"

namespace kasane {

enum class ErrorKind {
  kInvalid,      // the user's input (flag, Dockerfile, reference, archive form)
  kNotFound,     // image, tag, file, stage
  kConflict,     // in use, already exists
  kUnsupported,  // known, but not done by kasane or not possible on this host
  kPermission,   // EACCES, EPERM, foreign store
  kNoSpace,      // ENOSPC, EDQUOT
  kIo,           // other errno
  kCorrupt,      // stored or received bytes that do not match their digest or format
  kLimit,        // a safety limit was hit by hostile or huge input
  kNetwork,      // may be retried
  kStepFailed,   // a RUN ended with a non-zero status
  kCancelled,    // SIGINT/SIGTERM or another step failed first
  kInternal,     // a bug; say so
};

// Value type; copying is cheap (shared data, copied on write). Thread-compatible.
class Error {
 public:
  Error(ErrorKind kind, std::string message);

  // "open /x: No such file or directory"; the kind follows from errno_value.
  static Error from_errno(int errno_value, std::string_view what);

  // Adds the outer frame of a chain: "load image a:1: read manifest.json: ...".
  Error&& context(std::string what) &&;
  // What the user can do next. The first hint set wins.
  Error&& hint(std::string text) &&;
  // The place in a Dockerfile or ignore file to blame. The first span set wins.
  Error&& at(SourceSpan span) &&;
  // Exit status that main returns; default follows from kind.
  Error&& exit_code(int code) &&;

  ErrorKind kind() const { return data_->kind; }
  const std::string& message() const { return data_->message; }    // innermost sentence
  const std::vector<std::string>& contexts() const { return data_->contexts; }  // inner first
  const std::string& hint_text() const { return data_->hint; }
  const SourceSpan& span() const { return data_->span; }
  int errno_value() const { return data_->errno_value; }
  int exit_status() const;  // 1 unless set

  // "outer: inner: message", one line, without hint and excerpt.
  std::string full_message() const;

 private:
  struct Data {
    ErrorKind kind;
    std::string message;
    std::vector<std::string> contexts;
    std::string hint;
    SourceSpan span;
    int errno_value = 0;
    int exit_code = 0;
  };
  Data& mutable_data();
  std::shared_ptr<Data> data_;
};

}  // namespace kasane
