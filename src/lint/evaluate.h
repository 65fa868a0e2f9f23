// The scopes of ARG and ENV over a Dockerfile, without building: what a build's lowering
// computes, reduced to what rules and outline ask for. Tells a Listener what it sees, stage by
// stage in file order. Internal to lint/.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "dockerfile/ast.h"
#include "dockerfile/expand.h"
#include "lint/stage_graph.h"
#include "oci/image_config.h"
#include "oci/platform.h"

namespace kasane::lint {

struct EvaluateInputs {
  std::map<std::string, std::string> build_args;
  std::string target;
  bool all_stages = false;
  oci::Platform platform;
  std::function<std::optional<oci::ImageConfig>(const std::string&)> base_config;
};

// A global ARG, the last definition of its name (A01).
struct GlobalArg {
  std::optional<std::string> value;
  std::set<std::string> depends_on;  // global ARGs that its default reads
  std::string description;
  SourceSpan span;
  int order = 0;  // of the definition among all global ones
};

struct GlobalScope {
  dockerfile::EnvironmentList env;  // platform arguments first (A11, A12)
  std::map<std::string, GlobalArg> declared;
};

// With build_args == nullptr as if none were given.
Result<GlobalScope> evaluate_global_args(const dockerfile::Dockerfile& file,
                                         const EvaluateInputs& inputs,
                                         const std::map<std::string, std::string>* build_args);

struct StageScope {
  dockerfile::EnvironmentList env;
  std::set<std::string> declared_args;  // also those without a value
  std::string unknown_base;             // image whose configuration is not known, or ""
  bool shell_set = false;
  bool workdir_set = false;  // by a WORKDIR of this file
};

// One instruction about to run; `span` is what to blame: the FROM line for triggers (I13).
struct Step {
  const dockerfile::Stage& stage;
  const dockerfile::Instruction& instruction;
  SourceSpan span;
  bool is_trigger = false;
};

struct ArgValue {
  std::string name;
  std::optional<std::string> value;
  bool is_global = false;  // value taken over from the global scope
  std::string description;
};

// What the words of one instruction come to; empty where the instruction has no such thing.
struct StepValues {
  std::vector<std::string> words;  // ENV: keys; WORKDIR: path; COPY, ADD: sources; EXPOSE: ports
  std::string destination;         // COPY, ADD
  std::vector<ArgValue> args;
  std::vector<dockerfile::Mount> mounts;
  // A variable stood in the words that the image of an unknown configuration may define.
  bool uncertain = false;
};

struct FromValues {
  dockerfile::Expansion image;
  std::optional<dockerfile::Expansion> platform;
};

class Listener {
 public:
  virtual ~Listener() = default;
  // Every stage, before anything is resolved; then errors of its FROM end the evaluation.
  virtual void on_from(const dockerfile::Stage&, const FromValues&, const GlobalScope&) {}
  // A stage that is looked into, before its triggers and instructions.
  virtual void on_stage(const dockerfile::Stage&) {}
  // The image of a stage that is looked into, when its configuration is known.
  virtual void on_base_image(const dockerfile::Stage&, const std::string& /*image*/,
                             const oci::Platform& /*expected*/, const oci::ImageConfig&) {}
  virtual void on_undefined(const Step&, const std::set<std::string>& /*names*/,
                            const StageScope&) {}
  // After expansion, before the instruction changes the scope; once per name of an ARG. An
  // error ends the evaluation.
  virtual Result<void> on_step(const Step&, const StageScope&, const StepValues&) { return {}; }
};

// The first error is what a build would stop at; the listener has heard all up to there.
Result<void> evaluate(const dockerfile::Dockerfile& file, const EvaluateInputs& inputs,
                      Listener& listener);

}  // namespace kasane::lint
