// Go templates as docker's --format uses them: parse once, execute per row. A subset of
// text/template that covers everything its syntax can say, with docker's functions.
// Immutable after parse(); thread-safe.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "cli/template/value.h"

namespace kasane::cli::tmpl {

struct Trees;

struct ExecuteOptions {
  bool missing_key_is_error = false;  // Option("missingkey=error")
  bool header = false;                // heading row of a table
  bool buildx = false;                // buildx's functions in place of docker's
};

class Template {
 public:
  // kInvalid with Go's sentence: `template: :1: function "nope" not defined`.
  static Result<Template> parse(std::string_view text);
  Template(Template&&) noexcept;
  Template& operator=(Template&&) noexcept;
  ~Template();

  // The output for one value, or kInvalid with Go's sentence: `template: :1:2: executing ""
  // at <.Foo>: can't evaluate field Foo in type T`. kLimit when the output passes 64 MiB.
  Result<std::string> execute(const Value& dot, const ExecuteOptions& options = {}) const;

 private:
  explicit Template(std::unique_ptr<Trees> trees);
  std::unique_ptr<Trees> trees_;
};

}  // namespace kasane::cli::tmpl
