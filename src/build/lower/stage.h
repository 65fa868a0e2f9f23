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
  int steps = 0;                          // "[name i/n]": i so far
  std::vector<VertexId> own_vertices;     // to number them when n is known
};

class Lowerer {
 public:
  Lowerer(store::Store& store, const dockerfile::Dockerfile& file, const LowerOptions& options)
      : store_(store), file_(file), options_(options) {}
  Result<Graph> run();

 private:
  // stage.cc
  Result<void> expand_meta_args();
  Result<StageState*> stage(int index);
  Result<void> enter_from(StageState& state);
  Result<void> enter_image(StageState& state, const std::string& name);
  Result<void> fire_triggers(StageState& state);
  Result<void> dispatch(StageState& state, const dockerfile::Instruction& instruction);
  void number_steps(StageState& state);
  VertexId add_vertex(StageState& state, const dockerfile::Instruction* instruction, std::string text,
                      SourceSpan span, decltype(Vertex::op) op);
  Result<std::vector<Sha256Digest>> image_layers(const std::string& name, oci::ImageConfig* config);
  void finish(Graph& graph, StageState& target);

  // expansion with warnings about undefined variables
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
  Result<CopyOp> lower_copy(StageState&, const dockerfile::CopyBase&, const std::string& verb);
  Result<void> lower_from(StageState&, const dockerfile::Copy&, CopyOp& op);
  void add_copy(StageState&, const dockerfile::Instruction&, CopyOp op, const std::string& verb);

  // run.cc
  Result<void> lower_one(StageState&, const dockerfile::Instruction&, const dockerfile::Run&);
  Result<RunMount> lower_mount(StageState&, const dockerfile::MountFlag&);

  std::vector<std::string> with_shell(const StageState& state, const dockerfile::CommandLine& line);
  void note(StageState& state, std::string created_by);  // history of a metadata instruction

  store::Store& store_;
  const dockerfile::Dockerfile& file_;
  const LowerOptions& options_;
  Graph graph_;
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
