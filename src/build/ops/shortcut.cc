#include "build/ops/shortcut.h"

#include <unistd.h>

#include "dockerfile/match.h"

namespace kasane::build {
namespace {

void add_layers(FieldHash& hash, const std::vector<store::LayerPtr>& layers) {
  hash.add(uint64_t{layers.size()});
  for (const store::LayerPtr& layer : layers) hash.add(layer->diff_id());
}

// Everything of the instruction that shapes the plan; `now` does not count, as in plan_digest().
void add_instruction(FieldHash& hash, const CopyOp& op) {
  const CopyRequest& request = op.request;
  hash.add(uint64_t{request.sources.size()});
  for (const CopySource& source : request.sources)
    hash.add(source.path).add(uint64_t{source.tree} << 1 | uint64_t{source.unpack});
  hash.add(uint64_t{request.inline_files.size()});
  for (const InlineFile& file : request.inline_files) hash.add(file.name).add(file.content);
  hash.add(request.destination).add(op.chown.value_or("")).add(op.chmod_text);
  hash.add(uint64_t{request.excludes.size()});
  for (const std::string& pattern : request.excludes) hash.add(pattern);
  hash.add(uint64_t{request.parents} | uint64_t{op.link} << 1 | uint64_t{op.is_add} << 2);
}

// Only sources named without wildcards, at least one of them a directory: for single files
// the plan is as cheap as this.
Result<bool> add_directory(FieldHash& hash, SourceTree& tree, size_t number, const CopyOp& op,
                           bool& settled) {
  bool any_directory = false;
  for (const CopySource& source : op.request.sources) {
    if (source.tree != number) continue;
    if (dockerfile::has_wildcards(source.path) || source.path.find('\\') != std::string::npos)
      return false;
    std::optional<SourceTree::Fingerprint> fingerprint =
        TRY(tree.fingerprint(clean_path(source.path)));
    if (!fingerprint) return false;
    any_directory |= fingerprint->is_directory;
    settled &= fingerprint->settled;
    hash.add(fingerprint->digest);
  }
  return any_directory;
}

}  // namespace

Result<std::optional<Shortcut>> copy_shortcut(BuildEnvironment& env, const StepInput& input,
                                              const CopyOp& op) {
  FieldHash hash("kasane.copy-shortcut.2");
  Shortcut shortcut;
  OpenedTrees trees = OpenedTrees::open(env, input, op.trees);
  for (size_t i = 0; i < op.trees.size(); ++i) {
    if (op.trees[i].kind == SourceRef::Kind::kEmpty) {
      hash.add("empty");
    } else if (const std::vector<store::LayerPtr>* layers = layers_of(input, op.trees[i])) {
      hash.add("image");
      add_layers(hash, *layers);
    } else {
      hash.add("directory");
      if (!TRY(add_directory(hash, trees[i], i, op, shortcut.may_be_kept)))
        return std::optional<Shortcut>();
    }
  }
  add_layers(hash, input.below);
  add_instruction(hash, op);
  hash.add(env.epoch ? std::to_string(*env.epoch) : "");
  shortcut.digest = hash.finish();
  return std::optional<Shortcut>(shortcut);
}

Result<std::optional<Sha256Digest>> follow_shortcut(BuildEnvironment& env, const StepInput& input,
                                                    const Shortcut& shortcut) {
  if (input.vertex.no_cache) return std::optional<Sha256Digest>();
  std::optional<store::StepRow> row = TRY(env.store.find_step(shortcut.digest));
  if (!row) return std::optional<Sha256Digest>();
  return Sha256Digest::from_hex(row->explanation);
}

Result<void> keep_shortcut(BuildEnvironment& env, const Shortcut& shortcut, const Sha256Digest& key,
                           const Sha256Digest& diff_id) {
  // A layer that is still in a registry may never come.
  if (!shortcut.may_be_kept || ::access(env.store.path("layers/" + diff_id.hex()).c_str(), F_OK) != 0) return {};
  std::optional<store::StepRow> known = TRY(env.store.find_step(shortcut.digest));
  if (known && known->explanation == key.hex()) return {};
  store::StepRow row;
  row.key = shortcut.digest;
  row.diff_id = diff_id;
  row.explanation = key.hex();  // and no scope: --explain never meets a shortcut
  return env.store.put_step(row);
}

}  // namespace kasane::build
