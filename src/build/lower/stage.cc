// Stages: FROM, the scopes of ARG, ONBUILD triggers, numbering of steps.
#include "build/lower/stage.h"

#include <fmt/format.h>

#include "base/diagnostic.h"
#include "dockerfile/args.h"
#include "dockerfile/parser.h"
#include "oci/reference.h"

namespace kasane::build {

std::vector<VertexId> Vertex::dependencies() const {
  std::vector<VertexId> ids;
  auto add = [&](const SourceRef& source) {
    if (source.kind == SourceRef::Kind::kVertex) ids.push_back(source.vertex);
  };
  if (parent != kNoVertex) ids.push_back(parent);
  if (const auto* copy = std::get_if<CopyOp>(&op))
    for (const SourceRef& tree : copy->trees) add(tree);
  if (const auto* run = std::get_if<RunOp>(&op))
    for (const RunMount& mount : run->mounts) add(mount.from);
  return ids;
}

bool CopyOp::unpacks() const {
  for (const CopySource& source : request.sources)
    if (source.unpack) return true;
  return false;
}

Result<std::string> Lowerer::expand(const StageState& state, const dockerfile::Word& word) {
  Result<dockerfile::Expansion> expansion =
      dockerfile::expand_word(word.text, state.env, file_.directives.escape);
  if (!expansion) return std::move(expansion.error()).at(word.span);
  return std::move(expansion->value);
}

void Lowerer::note(StageState& state, std::string created_by) {
  state.history.push_back({std::move(created_by), true, kNoVertex});
}

Result<void> Lowerer::expand_meta_args() {
  const oci::Platform host = oci::Platform::host();
  for (const char* side : {"BUILD", "TARGET"}) {
    const oci::Platform& p = *side == 'B' ? host : platform_;
    platform_args_[std::string(side) + "PLATFORM"] = p.str();
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

VertexId Lowerer::add_vertex(StageState& state, const dockerfile::Instruction* instruction,
                             std::string text, SourceSpan span, decltype(Vertex::op) op) {
  (void)instruction;
  Vertex vertex;
  vertex.name = std::move(text);
  vertex.span = std::move(span);
  vertex.parent = state.vertex;
  vertex.op = std::move(op);
  vertex.no_cache = options_.no_cache || options_.no_cache_stages.contains(state.ast->name);
  ++state.steps;
  vertex.scope = fmt::format("{}|stage={}|step={}", options_.scope_prefix,
                             state.ast->name.empty() ? std::to_string(state.ast->index) : state.ast->name,
                             state.steps);
  if (options_.multi_platform) vertex.scope += "|" + platform_.str();
  graph_.vertices.push_back(std::move(vertex));
  VertexId id = static_cast<VertexId>(graph_.vertices.size()) - 1;
  state.own_vertices.push_back(id);
  state.vertex = id;
  return id;
}

void Lowerer::enter_scratch(StageState& state) {
  state.image.architecture = state.platform.architecture;
  state.image.variant = state.platform.variant;
  state.image.os = state.platform.os;
  state.image.config.working_dir = "/";
}

Result<void> Lowerer::enter_image(StageState& state, const std::string& name) {
  if (name == "scratch") {
    enter_scratch(state);
    ++state.steps;
  } else {
    std::vector<Sha256Digest> diff_ids = TRY(image_layers(name, state.platform, &state.image));
    std::string shown = TRY(oci::Reference::parse(name)).with_default_tag().canonical();
    add_vertex(state, nullptr, "FROM " + shown, state.ast->from.span, BaseOp{shown, diff_ids});
    if (diff_ids.empty()) state.vertex = kNoVertex;  // F14
  }
  return {};
}

// S05: a named context takes the place of the stage or image of its name.
Result<bool> Lowerer::enter_context(StageState& state, const std::string& name) {
  const NamedContext* context = options_.contexts ? options_.contexts->find(name, state.platform) : nullptr;
  if (!context) return false;
  const SourceSpan& span = state.ast->from.span;
  if (context->kind == NamedContext::Kind::kStage) {
    const dockerfile::Stage* stage = file_.find_stage(context->location, static_cast<int>(file_.stages.size()));
    if (!stage)
      return Error(ErrorKind::kNotFound, "build context " + name + ": no stage " + context->location);
    TRY(enter_stage(state, stage->index));
    return true;
  }
  if (context->kind == NamedContext::Kind::kImage) {
    Sha256Digest image = TRY(options_.contexts->image(*context, store_, state.platform));
    std::vector<Sha256Digest> diff_ids = TRY(layers_of(image, &state.image));
    add_vertex(state, nullptr, "FROM " + name, span, BaseOp{context->location, diff_ids});
    if (diff_ids.empty()) state.vertex = kNoVertex;
    return true;
  }
  // A directory or a download as a base: its files on an empty root.
  enter_scratch(state);
  CopyOp op;
  op.trees = {*TRY(context_named(state, name, span))};
  op.request.sources.push_back({"/", span});
  op.request.destination = "/";
  op.request.now = options_.now;
  add_vertex(state, nullptr, "FROM " + name, span, std::move(op));
  return true;
}

Result<oci::Platform> Lowerer::stage_platform(const dockerfile::From& from) {
  if (!from.platform) return platform_;
  StageState scope;
  scope.env = global_args_;
  std::string text = TRY(expand(scope, *from.platform));
  if (text.empty())
    return Error(ErrorKind::kInvalid, "empty platform value from expression " + from.platform->text)
        .at(from.platform->span)
        .hint("give the ARG a default, or pass it with --build-arg");
  Result<oci::Platform> platform = oci::Platform::parse(text);
  if (!platform)
    return std::move(platform.error())
        .context("failed to parse platform " + text)
        .at(from.platform->span);
  return *platform;
}

Result<void> Lowerer::enter_stage(StageState& state, int index) {
  StageState* parent = TRY(stage(index));
  state.image = parent->image;
  state.env = parent->env;
  state.args = parent->args;
  state.vertex = parent->vertex;
  state.history = parent->history;
  state.platform = parent->platform;
  state.platform_flag |= parent->platform_flag;
  ++state.steps;
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
  state.platform = TRY(stage_platform(from));
  state.platform_flag = from.platform.has_value();
  bool entered = !state.ast->name.empty() && TRY(enter_context(state, state.ast->name));
  const dockerfile::Stage* base = file_.find_stage(name, state.ast->index);
  if (!entered && base) return enter_stage(state, base->index);
  if (!entered && name != "scratch") entered = TRY(enter_context(state, name));
  if (!entered) {
    Result<void> image = enter_image(state, name);
    if (!image) return unknown_base(std::move(image.error()), name, state).at(from.image.span);
  }
  // What follows holds for every base that is no stage of this file.
  state.image.created.clear();
  if (!state.image.config.find_env("PATH")) state.image.config.set_env("PATH", kDefaultPath);
  state.env = dockerfile::EnvironmentList(state.image.config.env);
  return {};
}

// F11.
Error Lowerer::unknown_base(Error error, const std::string& name, const StageState& state) {
  std::vector<std::string> names;
  for (const dockerfile::Stage& stage : file_.stages)
    if (stage.index < state.ast->index && !stage.name.empty()) names.push_back(stage.name);
  std::string near = nearest_name(name, names);
  error = std::move(error).context("failed to resolve source metadata for " + name);
  if (!near.empty()) error = std::move(error).context("did you mean the stage \"" + near + "\"?");
  return error;
}

// I13: triggers of the base run first in the child and are cleared there.
Result<void> Lowerer::fire_triggers(StageState& state) {
  std::vector<std::string> triggers = std::move(state.image.config.on_build);
  state.image.config.on_build.clear();
  for (const std::string& trigger : triggers) {
    Result<dockerfile::Instruction> instruction =
        dockerfile::parse_trigger("ONBUILD of " + state.ast->from.image.text, trigger);
    if (!instruction) return std::move(instruction.error()).at(state.ast->from.span);
    const size_t before = state.own_vertices.size();
    TRY(dispatch(state, *instruction));
    for (size_t i = before; i < state.own_vertices.size(); ++i) {  // E01
      std::string& name = graph_.vertices[static_cast<size_t>(state.own_vertices[i])].name;
      name.insert(0, "ONBUILD ");
    }
  }
  return {};
}

Result<void> Lowerer::dispatch(StageState& state, const dockerfile::Instruction& instruction) {
  Result<void> lowered = std::visit(
      [&](const auto& value) { return lower_one(state, instruction, value); }, instruction.value);
  if (!lowered) return std::move(lowered.error()).at(instruction.span);
  return {};
}

// E01, MP6: n counts the base and every step that makes a layer.
void Lowerer::number_steps(StageState& state) {
  std::string label;
  if (options_.multi_platform) {
    label = state.platform.str();
    if (!(state.platform == platform_)) label += "->" + platform_.architecture;
    label += ' ';
  }
  if (file_.stages.size() > 1)
    label += state.ast->name.empty() ? fmt::format("stage-{} ", state.ast->index) : state.ast->name + " ";
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

// F10: the platform that was asked for, else that of the base.
Target Lowerer::finish(StageState& target) {
  for (const auto& [key, value] : options_.labels) target.image.config.labels[key] = value;
  oci::Platform p = platform_;
  if (!options_.platform_asked && !target.image.architecture.empty())
    p = target.platform_flag ? target.platform
                             : oci::Platform{target.image.os, target.image.architecture,
                                             target.image.variant, target.image.os_version};
  target.image.os = p.os;
  target.image.architecture = p.architecture;
  target.image.variant = p.variant;
  return {std::move(p), target.image, target.history, target.vertex};
}

Result<const dockerfile::Stage*> Lowerer::target_stage() {
  if (options_.target.empty()) return &file_.stages.back();
  const dockerfile::Stage* target =
      file_.find_stage(options_.target, static_cast<int>(file_.stages.size()));
  if (!target && options_.target.find_first_not_of("0123456789") == std::string::npos &&
      options_.target.size() < 6 && std::stoul(options_.target) < file_.stages.size())
    target = &file_.stages[std::stoul(options_.target)];
  if (target) return target;
  std::vector<std::string> names;
  for (const dockerfile::Stage& stage : file_.stages)
    if (!stage.name.empty()) names.push_back(stage.name);
  std::string near = nearest_name(options_.target, names);
  return Error(ErrorKind::kNotFound, "target stage \"" + options_.target + "\" could not be found" +
                                         (near.empty() ? "" : " (did you mean " + near + "?)"));
}

Result<Target> Lowerer::run() {
  TRY(expand_meta_args());
  const dockerfile::Stage* target = TRY(target_stage());
  StageState* state = TRY(stage(target->index));
  return finish(*state);
}

Result<Graph> lower(store::Store& store, const dockerfile::Dockerfile& file,
                    const LowerOptions& options) {
  Graph graph;
  for (const oci::Platform& platform : options.platforms)
    graph.targets.push_back(TRY(Lowerer(store, file, options, platform, graph).run()));
  return graph;
}

}  // namespace kasane::build
