// Stages: FROM, the scopes of ARG, ONBUILD triggers, numbering of steps.
#include "build/lower/stage.h"

#include <fmt/format.h>

#include "base/diagnostic.h"
#include "dockerfile/args.h"
#include "dockerfile/parser.h"
#include "oci/reference.h"
#include "transfer/transfer.h"

namespace kasane::build {

std::vector<VertexId> Vertex::dependencies() const {
  std::vector<VertexId> ids;
  if (parent != kNoVertex) ids.push_back(parent);
  if (const auto* copy = std::get_if<CopyOp>(&op))
    if (copy->from != kNoVertex) ids.push_back(copy->from);
  return ids;
}

Result<std::string> Lowerer::expand(const StageState& state, const dockerfile::Word& word) {
  Result<dockerfile::Expansion> expansion =
      dockerfile::expand_word(word.text, state.env, file_.directives.escape);
  if (!expansion) return std::move(expansion.error()).at(word.span);
  for (const std::string& name : expansion->unmatched)
    graph_.warnings.push_back(
        "UndefinedVar: " + dockerfile::undefined_variable_message(name, state.env) +
        fmt::format(" (line {})", word.span.first_line()));
  return std::move(expansion->value);
}

void Lowerer::note(StageState& state, std::string created_by) {
  state.history.push_back({std::move(created_by), true, kNoVertex});
}

Result<void> Lowerer::expand_meta_args() {
  const oci::Platform& p = options_.platform;
  const std::string platform = p.str();
  for (const char* side : {"BUILD", "TARGET"}) {
    platform_args_[std::string(side) + "PLATFORM"] = platform;
    platform_args_[std::string(side) + "OS"] = p.os;
    platform_args_[std::string(side) + "OSVERSION"] = p.os_version;
    platform_args_[std::string(side) + "ARCH"] = p.architecture;
    platform_args_[std::string(side) + "VARIANT"] = p.variant;
  }
  std::string last = file_.stages.back().name;
  platform_args_["TARGETSTAGE"] = !options_.target.empty() ? options_.target : last.empty() ? "default" : last;
  for (auto& [name, value] : platform_args_) {
    if (auto it = options_.build_args.find(name); it != options_.build_args.end()) value = it->second;
    global_args_.set(name, value);
  }
  for (const dockerfile::MetaArg& meta : file_.meta_args) {
    for (const dockerfile::ArgDefinition& arg : meta.arg.args) {
      StageState scope;
      scope.env = global_args_;
      std::string key = TRY(expand(scope, arg.key));
      if (auto it = options_.build_args.find(key); it != options_.build_args.end())
        global_args_.set(key, it->second);
      else if (arg.value)
        global_args_.set(key, TRY(expand(scope, *arg.value)));
    }
  }
  return {};
}

Result<std::vector<Sha256Digest>> Lowerer::image_layers(const std::string& name,
                                                        oci::ImageConfig* config) {
  oci::Reference reference = TRY(oci::Reference::parse(name));
  Result<Sha256Digest> id = transfer::find_image(store_, reference.with_default_tag().canonical());
  if (!id && id.error().kind() == ErrorKind::kNotFound)
    return Error(ErrorKind::kNotFound,
                 reference.with_default_tag().canonical() + ": not found in the store")
        .hint("this version of kasane does not pull; bring the image in with `kasane load` or "
              "`kasane import` (examples/bases/make.sh makes stand-ins for common bases)");
  if (!id) return id.error();
  oci::ImageConfig parsed = TRY(oci::ImageConfig::parse(TRY(store_.image_config(*id))));
  std::vector<Sha256Digest> diff_ids = parsed.diff_ids;
  if (config) *config = std::move(parsed);
  return diff_ids;
}

VertexId Lowerer::add_vertex(StageState& state, const dockerfile::Instruction* instruction,
                             std::string text, SourceSpan span, decltype(Vertex::op) op) {
  (void)instruction;
  Vertex vertex;
  vertex.name = std::move(text);
  vertex.span = std::move(span);
  vertex.parent = state.vertex;
  vertex.op = std::move(op);
  ++state.steps;
  vertex.scope = fmt::format("{}|stage={}|step={}", options_.scope_prefix,
                             state.ast->name.empty() ? std::to_string(state.ast->index) : state.ast->name,
                             state.steps);
  graph_.vertices.push_back(std::move(vertex));
  VertexId id = static_cast<VertexId>(graph_.vertices.size()) - 1;
  state.own_vertices.push_back(id);
  state.vertex = id;
  return id;
}

Result<void> Lowerer::enter_image(StageState& state, const std::string& name) {
  if (name == "scratch") {
    state.image.architecture = options_.platform.architecture;
    state.image.variant = options_.platform.variant;
    state.image.os = options_.platform.os;
    state.image.config.working_dir = "/";
    ++state.steps;
  } else {
    std::vector<Sha256Digest> diff_ids = TRY(image_layers(name, &state.image));
    std::string shown = TRY(oci::Reference::parse(name)).with_default_tag().canonical();
    add_vertex(state, nullptr, "FROM " + shown, state.ast->from.span, BaseOp{shown, diff_ids});
    if (diff_ids.empty()) state.vertex = kNoVertex;  // F14
  }
  state.image.created.clear();
  if (!state.image.config.find_env("PATH")) state.image.config.set_env("PATH", kDefaultPath);
  state.env = dockerfile::EnvironmentList(state.image.config.env);
  return {};
}

Result<void> Lowerer::enter_from(StageState& state) {
  const dockerfile::From& from = state.ast->from;
  StageState scope;
  scope.env = global_args_;
  std::string name = TRY(expand(scope, from.image));
  if (name.empty())
    return Error(ErrorKind::kInvalid, "base name (" + from.image.text + ") should not be blank")
        .at(from.image.span)
        .hint("give the ARG a default, or pass it with --build-arg");
  if (from.platform) {
    std::string text = TRY(expand(scope, *from.platform));
    Result<oci::Platform> platform = oci::Platform::parse(text);
    if (!platform) return std::move(platform.error()).at(from.platform->span);
    if (!(*platform == options_.platform))
      return Error(ErrorKind::kUnsupported, "platform " + platform->str() + " is not this host's (" +
                                                options_.platform.str() + ")")
          .at(from.platform->span)
          .hint("building for other platforms is not in this version");
  }
  const dockerfile::Stage* base = file_.find_stage(name, state.ast->index);
  if (!base) {
    Result<void> entered = enter_image(state, name);
    if (entered) return {};
    std::vector<std::string> names;
    for (const dockerfile::Stage& stage : file_.stages)
      if (stage.index < state.ast->index && !stage.name.empty()) names.push_back(stage.name);
    std::string near = nearest_name(name, names);
    Error error = std::move(entered.error()).context("failed to resolve source metadata for " + name);
    if (!near.empty()) error = std::move(error).context("did you mean the stage \"" + near + "\"?");
    return std::move(error).at(from.image.span);
  }
  StageState* parent = TRY(stage(base->index));
  state.image = parent->image;
  state.env = parent->env;
  state.args = parent->args;
  state.vertex = parent->vertex;
  state.history = parent->history;
  ++state.steps;
  return {};
}

// I13: triggers of the base run first in the child and are cleared there.
Result<void> Lowerer::fire_triggers(StageState& state) {
  std::vector<std::string> triggers = std::move(state.image.config.on_build);
  state.image.config.on_build.clear();
  for (const std::string& trigger : triggers) {
    Result<dockerfile::Instruction> instruction =
        dockerfile::parse_trigger("ONBUILD of " + state.ast->from.image.text, trigger);
    if (!instruction) return std::move(instruction.error()).at(state.ast->from.span);
    TRY(dispatch(state, *instruction));
  }
  return {};
}

Result<void> Lowerer::dispatch(StageState& state, const dockerfile::Instruction& instruction) {
  Result<void> lowered = std::visit(
      [&](const auto& value) { return lower_one(state, instruction, value); }, instruction.value);
  if (!lowered) return std::move(lowered.error()).at(instruction.span);
  return {};
}

// E01: n counts the base and every step that makes a layer.
void Lowerer::number_steps(StageState& state) {
  std::string label;
  if (file_.stages.size() > 1)
    label = state.ast->name.empty() ? fmt::format("stage-{} ", state.ast->index) : state.ast->name + " ";
  int first = state.steps - static_cast<int>(state.own_vertices.size());
  for (size_t i = 0; i < state.own_vertices.size(); ++i) {
    Vertex& vertex = graph_.vertices[static_cast<size_t>(state.own_vertices[i])];
    vertex.name = fmt::format("[{}{}/{}] {}", label, first + static_cast<int>(i) + 1, state.steps, vertex.name);
  }
}

Result<StageState*> Lowerer::stage(int index) {
  if (auto it = stages_.find(index); it != stages_.end() && !in_progress_.contains(index))
    return &it->second;
  if (!in_progress_.insert(index).second)
    return Error(ErrorKind::kInvalid, "circular dependency detected on stage: " +
                                          file_.stages[static_cast<size_t>(index)].name);
  StageState& state = stages_[index];
  state.ast = &file_.stages[static_cast<size_t>(index)];
  TRY(enter_from(state));
  TRY(fire_triggers(state));
  for (const dockerfile::Instruction& instruction : state.ast->instructions)
    TRY(dispatch(state, instruction));
  number_steps(state);
  in_progress_.erase(index);
  return &state;
}

void Lowerer::finish(Graph& graph, StageState& target) {
  for (const auto& [key, value] : options_.labels) target.image.config.labels[key] = value;
  const oci::Platform& p = options_.platform;
  target.image.os = p.os;
  target.image.architecture = p.architecture;
  target.image.variant = p.variant;
  graph.config = target.image;
  graph.history = target.history;
  graph.result = target.vertex;
}

Result<Graph> Lowerer::run() {
  TRY(expand_meta_args());
  const dockerfile::Stage* target = &file_.stages.back();
  if (!options_.target.empty()) {
    target = file_.find_stage(options_.target, static_cast<int>(file_.stages.size()));
    std::vector<std::string> names;
    for (const dockerfile::Stage& stage : file_.stages)
      if (!stage.name.empty()) names.push_back(stage.name);
    if (!target && options_.target.find_first_not_of("0123456789") == std::string::npos &&
        options_.target.size() < 6 && std::stoul(options_.target) < file_.stages.size())
      target = &file_.stages[std::stoul(options_.target)];
    if (!target) {
      std::string near = nearest_name(options_.target, names);
      return Error(ErrorKind::kNotFound, "target stage \"" + options_.target + "\" could not be found" +
                                             (near.empty() ? "" : " (did you mean " + near + "?)"));
    }
  }
  StageState* state = TRY(stage(target->index));
  finish(graph_, *state);
  return std::move(graph_);
}

Result<Graph> lower(store::Store& store, const dockerfile::Dockerfile& file,
                    const LowerOptions& options) {
  return Lowerer(store, file, options).run();
}

}  // namespace kasane::build
