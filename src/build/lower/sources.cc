// What a name in COPY --from, RUN --mount from= and FROM means: a stage, a named context or
// an image of the store.
#include "build/lower/stage.h"
#include "oci/reference.h"
#include "transfer/transfer.h"

namespace kasane::build {

Result<std::vector<Sha256Digest>> Lowerer::layers_of(const Sha256Digest& image,
                                                     oci::ImageConfig* config) {
  oci::ImageConfig parsed = TRY(oci::ImageConfig::parse(TRY(store_.image_config(image))));
  std::vector<Sha256Digest> diff_ids = parsed.diff_ids;
  if (config) *config = std::move(parsed);
  return diff_ids;
}

Result<std::vector<Sha256Digest>> Lowerer::image_layers(const std::string& name,
                                                        const oci::Platform& platform,
                                                        oci::ImageConfig* config) {
  BaseImages* bases = options_.contexts ? options_.contexts->bases() : nullptr;
  return layers_of(TRY(bases ? bases->find(name, platform) : find_base_image(store_, name, platform)),
                   config);
}

VertexId Lowerer::add_source(std::string name, SourceSpan span, decltype(Vertex::op) op) {
  Vertex vertex;
  vertex.name = std::move(name);
  vertex.span = std::move(span);
  vertex.op = std::move(op);
  graph_.vertices.push_back(std::move(vertex));
  return static_cast<VertexId>(graph_.vertices.size()) - 1;
}

Result<std::optional<SourceRef>> Lowerer::stage_named(StageState& state, const std::string& name,
                                                      const SourceSpan& span, bool numbers) {
  // K42: of several stages of one name the last one of the file is meant.
  const dockerfile::Stage* source = file_.find_stage(name, static_cast<int>(file_.stages.size()));
  bool number = numbers && !name.empty() && name.size() < 6 &&
                name.find_first_not_of("0123456789") == std::string::npos;
  if (!source && number && std::stoul(name) < file_.stages.size())
    source = &file_.stages[std::stoul(name)];
  if (!source && !number) return std::optional<SourceRef>();
  if (!source || source->index >= state.ast->index)  // K41
    return Error(ErrorKind::kInvalid,
                 "cannot copy from stage \"" + name + "\", it needs to be defined before current stage \"" +
                     (state.ast->name.empty() ? std::to_string(state.ast->index) : state.ast->name) + "\"")
        .at(span);
  StageState* from = TRY(stage(source->index));
  if (from->vertex == kNoVertex) return std::optional(SourceRef{SourceRef::Kind::kEmpty, kNoVertex});
  return std::optional(SourceRef{SourceRef::Kind::kVertex, from->vertex});
}

Result<std::optional<SourceRef>> Lowerer::context_named(StageState& state, const std::string& name,
                                                        const SourceSpan& span) {
  const NamedContext* context = options_.contexts ? options_.contexts->find(name, state.platform) : nullptr;
  if (!context) return std::optional<SourceRef>();
  auto vertex = [&](decltype(Vertex::op) op) {
    VertexId id = add_source("[context " + name + "] load " + context->location, span, std::move(op));
    return std::optional(SourceRef{SourceRef::Kind::kVertex, id});
  };
  switch (context->kind) {
    case NamedContext::Kind::kLocal:
      return vertex(LocalOp{context->name});
    case NamedContext::Kind::kHttp:
      return vertex(HttpOp{context->location, "", "context"});  // S06
    case NamedContext::Kind::kGit:
      return vertex(GitOp{TRY(net::parse_git_ref(context->location)), false});
    case NamedContext::Kind::kStage:
      return stage_named(state, context->location, span, true);
    case NamedContext::Kind::kImage:
      break;
  }
  Sha256Digest image = TRY(options_.contexts->image(*context, store_, state.platform));
  return vertex(BaseOp{context->location, TRY(layers_of(image, nullptr))});
}

Result<SourceRef> Lowerer::source_named(StageState& state, const std::string& name,
                                        const SourceSpan& span, bool numbers) {
  if (std::optional<SourceRef> stage = TRY(stage_named(state, name, span, numbers))) return *stage;
  if (name == "scratch") return SourceRef{SourceRef::Kind::kEmpty, kNoVertex};
  if (std::optional<SourceRef> context = TRY(context_named(state, name, span))) return *context;
  Result<std::vector<Sha256Digest>> diff_ids = image_layers(name, state.platform, nullptr);
  if (!diff_ids) return std::move(diff_ids.error()).at(span);
  return SourceRef{SourceRef::Kind::kVertex,
                   add_source("FROM " + name, span, BaseOp{name, std::move(*diff_ids)})};
}

}  // namespace kasane::build
