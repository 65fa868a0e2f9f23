// Rules that follow the scopes of a build: variables, base names, platforms, copies, ports.
// Internal to lint/.
#pragma once

#include "lint/evaluate.h"
#include "lint/findings.h"

namespace kasane::lint {

// G10. `verb` is "Copy" or "Add".
void check_ignored_source(const dockerfile::IgnoreMatcher& ignore, const Step& step,
                          const std::string& source, std::string_view verb, Findings& findings);

// Base names that only --build-arg makes valid.
void check_default_base_names(const dockerfile::Dockerfile& file, const EvaluateInputs& inputs,
                              Findings& findings);

class StageRules final : public Listener {
 public:
  StageRules(const dockerfile::Dockerfile& file, const dockerfile::IgnoreMatcher* ignore,
             Findings& findings);

  void on_from(const dockerfile::Stage& stage, const FromValues& values,
               const GlobalScope& global) override;
  void on_base_image(const dockerfile::Stage& stage, const std::string& image,
                     const oci::Platform& expected, const oci::ImageConfig& config) override;
  void on_undefined(const Step& step, const std::set<std::string>& names,
                    const StageScope& scope) override;
  Result<void> on_step(const Step& step, const StageScope& scope,
                       const StepValues& values) override;

 private:
  void add(const Step& step, std::string_view rule, std::string message, std::string note = "");
  void undeclared(const dockerfile::Stage& stage, const std::set<std::string>& names,
                  const GlobalScope& global);
  bool is_likely_mistake(const Step& step, const std::string& name);
  void check_command(const Step& step, const StageScope& scope, bool shell_form);
  void used_once(const Step& step);
  void check_copy(const Step& step, const StepValues& values, const dockerfile::CopyBase& copy,
                  bool is_add, bool from_context);
  void check_secret(const Step& step, std::string_view keyword, const std::string& name);
  Result<void> check_ports(const Step& step, const StepValues& values);

  struct Used {
    SourceSpan span;
    std::vector<dockerfile::Word> comments;
  };
  std::vector<std::string> file_names_;  // of every ARG and ENV in the file, sorted
  const dockerfile::IgnoreMatcher* ignore_;
  Findings& findings_;
  int stage_ = -1;                                 // whose `used_` it is
  std::map<std::string, Used, std::less<>> used_;  // CMD, ENTRYPOINT, HEALTHCHECK so far
};

}  // namespace kasane::lint
