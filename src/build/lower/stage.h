// State of one stage while its instructions are lowered, and the context they share.
// Internal to lower/.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "build/graph.h"
#include "build/lower/lower.h"
#include "dockerfile/expand.h"

namespace kasane::build {

struct StageState {
  const dockerfile::Stage* ast = nullptr;
  oci::Platform platform;                 // of its files and programs
  bool platform_flag = false;             // FROM --platform, here or in a stage below
  oci::ImageConfig image;                 // config so far; history and rootfs of the base
  dockerfile::EnvironmentList env;        // build environment: ENV and ARG, last writer wins
  struct DeclaredArg {
    std::string key;
    std::optional<std::string> value;
  };
  std::vector<DeclaredArg> args;          // in order of first declaration
  VertexId vertex = kNoVertex;            // kNoVertex: scratch
  std::vector<HistoryItem> history;
  bool cmd_in_stage = false;              // C03
  std::string step_prefix;                // "ONBUILD " while triggers are lowered
  bool replaced = false;                  // by a named context of the stage's name
  int steps = 0;                          // "[name i/n]": i so far
  std::vector<VertexId> own_vertices;     // to number them when n is known
};

// Lowers the Dockerfile for one platform into a graph that several share.
class Lowerer {
 public:
  Lowerer(store::Store& store, const dockerfile::Dockerfile& file, const LowerOptions& options,
          const oci::Platform& platform, Graph& graph)
      : store_(store), file_(file), options_(options), platform_(platform), graph_(graph) {}
  Result<Target> run();

 private:
  // stage.cc
  Result<void> expand_meta_args();
  Result<StageState*> stage(int index);
  Result<void> enter_from(StageState& state);
  Result<void> enter_image(StageState& state, const std::string& name);
  void enter_scratch(StageState& state);
  Error unknown_base(Error error, const std::string& name, const StageState& state);
  Result<void> enter_stage(StageState& state, int index);
  Result<bool> enter_context(StageState& state, const std::string& name);
  Result<oci::Platform> stage_platform(const dockerfile::From& from);
  Result<void> fire_triggers(StageState& state);
  Result<void> dispatch(StageState& state, const dockerfile::Instruction& instruction);
  void number_steps(StageState& state);
  VertexId add_vertex(StageState& state, const dockerfile::Instruction* instruction, std::string text,
                      SourceSpan span, decltype(Vertex::op) op);
  Result<const dockerfile::Stage*> target_stage();
  Target finish(StageState& target);

  // sources.cc
  // The image of the store that this name means on this platform; its layers.
  Result<std::vector<Sha256Digest>> image_layers(const std::string& name, const oci::Platform& platform,
                                                 oci::ImageConfig* config);
  Result<std::vector<Sha256Digest>> layers_of(const Sha256Digest& image, oci::ImageConfig* config);
  // A stage, a named context or an image (K40, RM1). `numbers`: stage numbers mean stages.
  Result<SourceRef> source_named(StageState& state, const std::string& name, const SourceSpan& span,
                                 bool numbers);
  Result<std::optional<SourceRef>> stage_named(StageState& state, const std::string& name,
                                               const SourceSpan& span, bool numbers);
  Result<std::optional<SourceRef>> context_named(StageState& state, const std::string& name,
                                                 const SourceSpan& span);
  VertexId add_source(std::string name, SourceSpan span, decltype(Vertex::op) op);

  // Undefined variables are empty; lint/ warns about them.
  Result<std::string> expand(const StageState& state, const dockerfile::Word& word);

  // metadata.cc
  Result<void> lower_one(StageState&, const dockerfile::Instruction&, const dockerfile::Env&);
  Result<void> lower_one(StageState&, const dockerfile::Instruction&, const dockerfile::Label&);
  Result<void> lower_one(StageState&, const dockerfile::Instruction&, const dockerfile::Arg&);
  Result<void> lower_one(StageState&, const dockerfile::Instruction&, const dockerfile::Cmd&);
  Result<void> lower_one(StageState&, const dockerfile::Instruction&, const dockerfile::Entrypoint&);
  Result<void> lower_one(StageState&, const dockerfile::Instruction&, const dockerfile::User&);
  Result<void> lower_one(StageState&, const dockerfile::Instruction&, const dockerfile::Expose&);
  Result<void> lower_one(StageState&, const dockerfile::Instruction&, const dockerfile::Volume&);
  Result<void> lower_one(StageState&, const dockerfile::Instruction&, const dockerfile::StopSignal&);
  Result<void> lower_one(StageState&, const dockerfile::Instruction&, const dockerfile::Shell&);
  Result<void> lower_one(StageState&, const dockerfile::Instruction&, const dockerfile::Healthcheck&);
  Result<void> lower_one(StageState&, const dockerfile::Instruction&, const dockerfile::Onbuild&);
  Result<void> lower_one(StageState&, const dockerfile::Instruction&, const dockerfile::Maintainer&);

  // files.cc
  Result<void> lower_one(StageState&, const dockerfile::Instruction&, const dockerfile::Workdir&);
  Result<void> lower_one(StageState&, const dockerfile::Instruction&, const dockerfile::Copy&);
  Result<void> lower_one(StageState&, const dockerfile::Instruction&, const dockerfile::Add&);
  Result<CopyOp> lower_copy(StageState&, const dockerfile::CopyBase&, const dockerfile::Add* add);
  Result<void> lower_add_source(StageState&, const dockerfile::Add&, const dockerfile::Word& word,
                                std::string path, CopyOp& op);
  void add_copy(StageState&, const dockerfile::Instruction&, CopyOp op, const std::string& verb);

  // run.cc
  Result<void> lower_one(StageState&, const dockerfile::Instruction&, const dockerfile::Run&);
  Result<RunMount> lower_mount(StageState&, const dockerfile::MountFlag&, int& ssh_mounts);
  Result<void> check_entitlements(const dockerfile::Run&, const SourceSpan&);

  std::vector<std::string> with_shell(const StageState& state, const dockerfile::CommandLine& line);
  void note(StageState& state, std::string created_by);  // history of a metadata instruction

  store::Store& store_;
  const dockerfile::Dockerfile& file_;
  const LowerOptions& options_;
  const oci::Platform& platform_;  // the target's
  Graph& graph_;
  dockerfile::EnvironmentList global_args_;      // A01: what FROM sees
  std::map<std::string, std::string> platform_args_;
  std::map<int, StageState> stages_;
  std::set<int> in_progress_;
};

// Shared small things.
std::string go_quote(std::string_view text);             // Go's %q
std::string go_quoted_list(const std::vector<std::string>& items);  // ["a" "b"]
std::string absolute_path(const std::string& workdir, std::string_view path);  // clean
std::string join(const std::vector<std::string>& items, std::string_view separator);
inline constexpr std::string_view kDefaultPath =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

}  // namespace kasane::build
