#include "lint/check.h"

#include <set>

#include "lint/evaluate.h"
#include "lint/findings.h"
#include "lint/name_rules.h"
#include "lint/stage_rules.h"

namespace kasane::lint {
namespace {

constexpr const char* kCheckArgument = "BUILDKIT_DOCKERFILE_CHECK";

// D06: the build argument replaces the directive, it is not added to it.
Result<CheckConfig> config_of(const dockerfile::Dockerfile& file, const CheckInputs& inputs) {
  auto given = inputs.build_args.find(kCheckArgument);
  if (given != inputs.build_args.end())
    return TRY_CONTEXT(parse_check_config(given->second),
                       std::string("failed to parse ") + kCheckArgument);
  if (!file.directives.check) return CheckConfig();
  Result<CheckConfig> config = parse_check_config(file.directives.check->text);
  if (!config)
    return std::move(config.error())
        .context("failed to parse check options")
        .at(file.directives.check->span);
  return config;
}

}  // namespace

Result<CheckReport> check_dockerfile(const dockerfile::Dockerfile& file,
                                     const CheckInputs& inputs) {
  CheckReport report;
  report.config = TRY(config_of(file, inputs));
  Findings findings(report.config);
  check_parser_warnings(file, findings);
  check_instructions(file, findings);
  check_stage_names(file, findings);
  check_keyword_casing(file, findings);

  EvaluateInputs evaluation;
  evaluation.build_args = inputs.build_args;
  evaluation.target = inputs.target;
  evaluation.all_stages = inputs.all_stages && inputs.target.empty();
  evaluation.platform = inputs.platform;
  evaluation.base_config = inputs.base_config;
  check_default_base_names(file, evaluation, findings);
  StageRules rules(file, inputs.ignore, findings);
  Result<void> evaluated = evaluate(file, evaluation, rules);
  if (!evaluated) report.error = std::move(evaluated.error());
  report.findings = findings.take();
  return report;
}

std::optional<Error> lint_violation(const CheckReport& report) {
  if (!report.config.error || report.findings.empty()) return std::nullopt;
  std::set<std::string> rules;
  for (const Finding& finding : report.findings) rules.insert(finding.rule);
  std::string list;
  for (const std::string& rule : rules) list += (list.empty() ? "" : ", ") + rule;
  return Error(ErrorKind::kInvalid, "lint violation found for rules: " + list)
      .at(report.findings.front().span)
      .hint("the Dockerfile asks for this with check=error=true");
}

}  // namespace kasane::lint
