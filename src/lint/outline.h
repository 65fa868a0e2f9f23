// What a build can be given (`--call=outline`, E11) and what it can build (`--call=targets`,
// E12): arguments, secrets and ssh keys with their descriptions (P20), and the stages.
// Pure functions; nothing is built or fetched.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/source.h"
#include "dockerfile/ast.h"
#include "oci/platform.h"

namespace kasane::lint {

struct OutlineArg {
  std::string name;
  std::string description;
  std::optional<std::string> value;  // default or --build-arg, expanded
  SourceSpan span;                   // the ARG instruction
};

struct OutlineMount {  // of a RUN --mount=type=secret or ssh
  std::string name;
  bool required = false;
  SourceSpan span;
};

struct Outline {
  std::string name;  // of the stage; "" if it has none
  std::string description;
  std::vector<OutlineArg> args;  // of all stages that the target needs, by line
  std::vector<OutlineMount> secrets;
  std::vector<OutlineMount> ssh;
};

struct Target {
  std::string name;
  std::string description;
  std::string base;      // as written
  std::string platform;  // as written; "" if FROM has no --platform
  bool is_default = false;
  SourceSpan span;  // FROM
};

// kNotFound for an unknown target, kInvalid for what a build would refuse before its first
// step. An image's own triggers (ONBUILD) are not known and not counted.
Result<Outline> outline(const dockerfile::Dockerfile& file, const std::string& target,
                        const std::map<std::string, std::string>& build_args,
                        const oci::Platform& platform);
std::vector<Target> targets(const dockerfile::Dockerfile& file);

// Tables as `docker build --call=outline|targets` prints them.
std::string outline_text(const Outline& outline);
std::string targets_text(const std::vector<Target>& targets);

// The JSON of buildx's format=json, indented, newline at the end.
std::string outline_json(const Outline& outline, const SourceText& source);
std::string targets_json(const std::vector<Target>& targets, const SourceText& source);

}  // namespace kasane::lint
