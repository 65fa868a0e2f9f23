// WORKDIR, COPY and ADD.
#include "build/lower/stage.h"
#include "build/source_tree.h"
#include "dockerfile/expand.h"
#include "dockerfile/match.h"
#include "net/git_ref.h"
#include "net/source_cache.h"
#include "net/url.h"

namespace kasane::build {
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
                                   const dockerfile::Add* add) {
  CopyOp op;
  for (const dockerfile::Word& source : copy.sources) {
    std::string path = TRY(expand(state, source));
    if (!net::is_http_url(path) && !net::looks_like_git(path)) {
      op.request.sources.push_back({.path = std::move(path), .span = source.span});
    } else if (add) {
      TRY(lower_add_source(state, *add, source, std::move(path), op));
    } else {  // K32
      return Error(ErrorKind::kInvalid, "source can't be a URL for COPY")
          .at(source.span)
          .hint("ADD takes URLs and git repositories");
    }
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
  op.link = copy.link && !copy.chmod;  // K27: with --chmod it is a usual copy
  return op;
}

// A URL or repository: a tree of its own, made by a vertex that other steps do not wait for.
Result<void> Lowerer::lower_add_source(StageState& state, const dockerfile::Add& add,
                                       const dockerfile::Word& word, std::string path, CopyOp& op) {
  std::string checksum;
  if (add.checksum) checksum = TRY(expand(state, *add.checksum));
  CopySource source{"/", word.span, op.trees.size(), false, path};
  VertexId id = kNoVertex;
  if (net::looks_like_git(path)) {
    Result<net::GitRef> ref = net::parse_git_ref(path);
    if (!ref) return std::move(ref.error()).at(word.span);
    if (add.keep_git_dir && ref->keep_git_dir && *add.keep_git_dir != *ref->keep_git_dir)  // AD11
      return Error(ErrorKind::kInvalid, "keep-git-dir conflicts with the query of the git URL").at(word.span);
    if (!checksum.empty() && !ref->checksum.empty() && checksum != ref->checksum)
      return Error(ErrorKind::kInvalid, "checksum conflicts with the query of the git URL").at(word.span);
    if (!checksum.empty()) ref->checksum = checksum;
    bool keep = add.keep_git_dir.value_or(ref->keep_git_dir.value_or(false));
    id = add_source("[internal] load git source " + path, word.span, GitOp{std::move(*ref), keep});
  } else {
    if (!checksum.empty() && !checksum.starts_with("sha256:"))  // AD9
      return Error(ErrorKind::kInvalid, "invalid checksum " + checksum + ": unsupported algorithm")
          .at(add.checksum->span)
          .hint("write it as sha256:<64 hexadecimal digits>");
    std::string name = net::http_source_name(path);
    source.path = dockerfile::escape_pattern(name);
    source.unpack = add.unpack.value_or(false);  // AD5
    id = add_source("[internal] load " + path, word.span, HttpOp{std::move(path), checksum, name});
  }
  op.trees.push_back({SourceRef::Kind::kVertex, id});
  op.request.sources.push_back(std::move(source));
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
  for (const CopySource& source : op.request.sources) text += " " + (source.shown.empty() ? source.path : source.shown);
  for (const InlineFile& file : op.request.inline_files) text += " <<" + file.name;
  Result<std::string> destination = expand(state, base.destination);
  text += " " + (destination ? *destination : base.destination.text);
  std::string name = (op.link ? "LINK " : "") + instruction.original;  // E01
  VertexId id = add_vertex(state, &instruction, std::move(name), instruction.span, std::move(op));
  state.history.push_back({text + " # buildkit", false, id});
}

Result<void> Lowerer::lower_one(StageState& state, const dockerfile::Instruction& instruction,
                                const dockerfile::Copy& copy) {
  CopyOp op = TRY(lower_copy(state, copy, nullptr));
  if (copy.from) {
    // V16: BuildKit refuses variables here; global ARGs are a harmless extension.
    StageState scope;
    scope.env = global_args_;
    std::string name = TRY(expand(scope, *copy.from));
    if (name.empty())
      return Error(ErrorKind::kInvalid, "--from=" + copy.from->text + " names nothing")
          .at(copy.from->span)
          .hint("only an ARG before the first FROM can be used here");
    op.trees = {TRY(source_named(state, name, copy.from->span, true))};
  }
  add_copy(state, instruction, std::move(op), "COPY");
  return {};
}

Result<void> Lowerer::lower_one(StageState& state, const dockerfile::Instruction& instruction,
                                const dockerfile::Add& add) {
  CopyOp op = TRY(lower_copy(state, add, &add));
  op.is_add = true;
  for (CopySource& source : op.request.sources)
    if (source.tree == 0) source.unpack = add.unpack.value_or(true);
  if (add.checksum) {  // AD9
    const char* problem = nullptr;
    if (add.sources.size() + add.inline_files.size() > 1)
      problem = "checksum can't be specified for multiple sources";
    else if (op.trees.size() == 1)
      problem = "checksum requires HTTP(S) or Git sources";
    if (problem) return Error(ErrorKind::kInvalid, problem).at(add.checksum->span);
  }
  add_copy(state, instruction, std::move(op), "ADD");
  return {};
}

}  // namespace kasane::build
