// check_dockerfile(): BuildKit's 22 check rules (dockerfile.md 1.20) and a few of kasane's own,
// over a parsed Dockerfile. Nothing is built or fetched and no file is read. Pure functions,
// thread-safe; time and memory are bounded for any input that parse() accepts.
//
// Messages, descriptions and addresses are BuildKit's, because tools match on them. Findings
// come in the order in which BuildKit reports them; check_report.h sorts them for reading.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/source.h"
#include "dockerfile/ast.h"
#include "dockerfile/ignore.h"
#include "lint/check_config.h"
#include "oci/image_config.h"
#include "oci/platform.h"

namespace kasane::lint {

struct Finding {
  std::string rule;         // "UndefinedVar"
  std::string description;  // of the rule
  std::string url;          // of the rule; "" where there is no page
  std::string message;
  SourceSpan span;  // the instruction; for NoEmptyContinuation its last line
  bool experimental = false;
  std::string note;  // why the finding may not apply; "" mostly
};

struct CheckInputs {
  // Values of --build-arg. BUILDKIT_DOCKERFILE_CHECK replaces the file's directive (D06).
  std::map<std::string, std::string> build_args;
  std::string target;  // "": the last stage
  // S09: true looks into every stage when there is no target (--check); false only into those
  // that the target needs (a build). Rules about FROM and about names always see all stages.
  bool all_stages = true;
  const dockerfile::IgnoreMatcher* ignore = nullptr;  // CopyIgnoredFile (G10); null: not judged
  oci::Platform platform = oci::Platform::host();
  // Configuration of a base image, asked with the name as FROM has it after expansion. Empty,
  // or nothing returned: unknown, so InvalidBaseImagePlatform and the image's variables and
  // triggers do not count; UndefinedVar then names only what is hardly the image's, with a note.
  std::function<std::optional<oci::ImageConfig>(const std::string& image)> base_config;
};

struct CheckReport {
  std::vector<Finding> findings;  // filtered by directive and comments, without duplicates
  CheckConfig config;
  // What a build of the same file would stop at before its first step, if anything (blank base
  // name, ${X:?message}, unknown target, ...). Findings up to there are complete.
  std::optional<Error> error;
};

// kInvalid for a check directive or build argument that cannot be understood.
Result<CheckReport> check_dockerfile(const dockerfile::Dockerfile& file, const CheckInputs& inputs);

// E13: with `error=true`, what the build fails with: "lint violation found for rules: A, B".
std::optional<Error> lint_violation(const CheckReport& report);

}  // namespace kasane::lint
