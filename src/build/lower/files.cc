// WORKDIR, COPY and ADD.
#include "build/lower/stage.h"
#include "build/source_tree.h"
#include "dockerfile/expand.h"

namespace kasane::build {
namespace {

bool is_url(std::string_view text) {
  return text.starts_with("http://") || text.starts_with("https://");
}

bool is_git(std::string_view text) {
  return text.starts_with("git://") || text.starts_with("git@") || text.starts_with("ssh://") ||
         (is_url(text) && (text.ends_with(".git") || text.find(".git#") != std::string_view::npos));
}

}  // namespace

Result<void> Lowerer::lower_one(StageState& state, const dockerfile::Instruction& instruction,
                                const dockerfile::Workdir& workdir) {
  std::string written = TRY(expand(state, workdir.path));
  std::string path = absolute_path(state.image.config.working_dir, written);
  state.image.config.working_dir = path;
  std::string text = "WORKDIR " + path;
  if (path == "/") {  // J08
    note(state, text);
    return {};
  }
  VertexId id = add_vertex(state, &instruction, text, instruction.span,
                           WorkdirOp{path, state.image.config.user});
  state.history.push_back({text, false, id});
  return {};
}

Result<CopyOp> Lowerer::lower_copy(StageState& state, const dockerfile::CopyBase& copy,
                                   const std::string& verb) {
  CopyOp op;
  for (const dockerfile::Word& source : copy.sources) {
    std::string path = TRY(expand(state, source));
    if (is_url(path) || is_git(path)) {
      if (verb == "COPY")
        return Error(ErrorKind::kInvalid, "source can't be a URL for COPY").at(source.span);
      return Error(ErrorKind::kUnsupported, "ADD from a URL or git repository is not in this version")
          .at(source.span)
          .hint("fetch it before the build, or in a RUN step of an earlier stage");
    }
    op.request.sources.push_back({std::move(path), source.span});
  }
  for (const dockerfile::Heredoc& heredoc : copy.inline_files) {
    std::string content = heredoc.content();
    if (heredoc.expand) {
      Result<dockerfile::Expansion> expansion = dockerfile::expand_heredoc(content, state.env);
      if (!expansion) return std::move(expansion.error()).at(heredoc.span);
      content = std::move(expansion->value);
    }
    op.request.inline_files.push_back({heredoc.name, std::move(content)});
  }
  std::string destination = TRY(expand(state, copy.destination));
  bool directory = destination.empty() || destination == "." || destination.ends_with('/') ||
                   destination.ends_with("/.");
  op.request.destination = absolute_path(state.image.config.working_dir, destination);
  if (directory && !op.request.destination.ends_with('/')) op.request.destination += '/';
  if (copy.chown) op.chown = TRY(expand(state, *copy.chown));
  if (copy.chmod) {
    op.chmod_text = TRY(expand(state, *copy.chmod));
    Result<ModeChange> mode = ModeChange::parse(op.chmod_text);
    if (!mode) return std::move(mode.error()).at(copy.chmod->span);
    op.request.chmod = std::move(*mode);
  }
  op.request.parents = copy.parents;
  for (const dockerfile::Word& pattern : copy.excludes) op.request.excludes.push_back(pattern.text);
  op.request.now = options_.now;
  op.link = copy.link;
  return op;
}

// K40, K41: a stage, or an image of the store.
Result<void> Lowerer::lower_from(StageState& state, const dockerfile::Copy& copy, CopyOp& op) {
  const std::string& name = copy.from->text;
  if (name.find('$') != std::string::npos)
    return Error(ErrorKind::kInvalid, "variable expansion is not supported for --from")
        .at(copy.from->span)
        .hint("define a stage with FROM from the ARG, for example: FROM ${IMAGE} AS source");
  const dockerfile::Stage* source = file_.find_stage(name, state.ast->index);
  bool number = !name.empty() && name.size() < 6 &&
                name.find_first_not_of("0123456789") == std::string::npos;
  if (!source && number && std::stoul(name) < static_cast<size_t>(state.ast->index))
    source = &file_.stages[std::stoul(name)];
  if (!source && (number || file_.find_stage(name, static_cast<int>(file_.stages.size()))))
    return Error(ErrorKind::kInvalid,
                 "cannot copy from stage \"" + name + "\", it needs to be defined before current stage \"" +
                     (state.ast->name.empty() ? std::to_string(state.ast->index) : state.ast->name) + "\"")
        .at(copy.from->span);
  if (source) {
    StageState* from = TRY(stage(source->index));
    op.from = from->vertex;
    op.from_scratch = from->vertex == kNoVertex;
    return {};
  }
  if (name == "scratch") {
    op.from_scratch = true;
    return {};
  }
  Result<std::vector<Sha256Digest>> diff_ids = image_layers(name, nullptr);
  if (!diff_ids) return std::move(diff_ids.error()).at(copy.from->span);
  Vertex base;
  base.name = "FROM " + name;
  base.span = copy.from->span;
  base.op = BaseOp{name, std::move(*diff_ids)};
  graph_.vertices.push_back(std::move(base));
  op.from = static_cast<VertexId>(graph_.vertices.size()) - 1;
  return {};
}

void Lowerer::add_copy(StageState& state, const dockerfile::Instruction& instruction, CopyOp op,
                       const std::string& verb) {
  std::string text = verb;
  if (op.request.parents) text += " --parents";
  if (op.chown) text += " --chown=" + *op.chown;
  const auto& base = verb == "COPY"
                         ? static_cast<const dockerfile::CopyBase&>(std::get<dockerfile::Copy>(instruction.value))
                         : std::get<dockerfile::Add>(instruction.value);
  if (base.chmod) text += " --chmod=" + op.chmod_text;
  for (const CopySource& source : op.request.sources) text += " " + source.path;
  for (const InlineFile& file : op.request.inline_files) text += " <<" + file.name;
  Result<std::string> destination = expand(state, base.destination);
  text += " " + (destination ? *destination : base.destination.text);
  VertexId id = add_vertex(state, &instruction, instruction.original, instruction.span, std::move(op));
  state.history.push_back({text + " # buildkit", false, id});
}

Result<void> Lowerer::lower_one(StageState& state, const dockerfile::Instruction& instruction,
                                const dockerfile::Copy& copy) {
  CopyOp op = TRY(lower_copy(state, copy, "COPY"));
  if (copy.from) TRY(lower_from(state, copy, op));
  add_copy(state, instruction, std::move(op), "COPY");
  return {};
}

Result<void> Lowerer::lower_one(StageState& state, const dockerfile::Instruction& instruction,
                                const dockerfile::Add& add) {
  CopyOp op = TRY(lower_copy(state, add, "ADD"));
  op.is_add = true;
  op.unpack = add.unpack.value_or(true);
  if (add.checksum)
    return Error(ErrorKind::kInvalid, "checksum can't be specified for local sources")
        .at(add.checksum->span);
  add_copy(state, instruction, std::move(op), "ADD");
  return {};
}

}  // namespace kasane::build
