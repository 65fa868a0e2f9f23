// The config side of new layers (reference T06, T07, L24).
#include <algorithm>
#include <climits>

#include "oci/image_config.h"
#include "store/layer_rewrite.h"
#include "transfer/outputs.h"

namespace kasane::transfer {
namespace {

void set_config(BuiltPlatform& built, oci::ImageConfig config) {
  config.diff_ids = built.diff_ids;
  built.config_json = config.serialize();
  built.config_digest = sha256(built.config_json);
}

Result<std::vector<store::LayerPtr>> open_layers(store::Store& store,
                                                 const std::vector<Sha256Digest>& diff_ids) {
  std::vector<store::LayerPtr> out;
  for (const Sha256Digest& diff_id : diff_ids)
    out.push_back(TRY(store::open_layer(store, diff_id)));
  return out;
}

// Position in the history of the first entry that belongs to the new layers.
size_t new_history(const oci::ImageConfig& config, size_t base_layers) {
  size_t layers = 0;
  for (size_t i = 0; i < config.history.size(); ++i)
    if (!config.history[i].empty_layer && layers++ == base_layers) return i;
  return config.history.size();
}

// BuildKit's patchImageConfig: no later than the epoch, and the base's history as it was.
void clamp_config(oci::ImageConfig& config, size_t base_layers, int64_t epoch) {
  const int64_t limit = epoch * 1'000'000'000;
  const auto clamp = [&](std::string& time) {
    const std::optional<int64_t> at = oci::parse_time(time);
    if (at && *at > limit) time = oci::format_time(limit);
  };
  clamp(config.created);
  for (size_t i = new_history(config, base_layers); i < config.history.size(); ++i)
    clamp(config.history[i].created);
}

// moby's daemon/images/image_squash.go.
void squash_history(oci::ImageConfig& config, const BuiltPlatform& before) {
  for (size_t i = new_history(config, before.base_layers); i < config.history.size(); ++i)
    config.history[i].empty_layer = true;
  oci::HistoryEntry entry;
  entry.created = config.created;  // docker: now; a time would make every squash another image
  const std::string id = before.config_digest.str();
  if (before.base_layers == 0)
    entry.comment = "create new from " + id;
  else if (before.base_image)
    entry.comment = "merge " + id + " to " + before.base_image->str();
  else
    entry.comment = "merge " + id;
  config.history.push_back(std::move(entry));
}

}  // namespace

Result<BuiltPlatform> rewrite_timestamps(store::Store& store, BuiltPlatform built, int64_t epoch) {
  if (epoch < 0 || epoch > INT64_MAX / 1'000'000'000)
    return Error(ErrorKind::kInvalid,
                 "SOURCE_DATE_EPOCH " + std::to_string(epoch) + " is out of range");
  TRY(store.hold());
  oci::ImageConfig config = TRY(oci::ImageConfig::parse(built.config_json));
  for (size_t i = built.base_layers; i < built.diff_ids.size(); ++i) {
    const store::LayerPtr layer = TRY(store::open_layer(store, built.diff_ids[i]));
    const store::LayerPtr clamped =
        TRY_CONTEXT(store::clamp_layer_times(store, layer, epoch),
                    "rewrite the times of layer " + layer->diff_id().str());
    built.diff_ids[i] = clamped->diff_id();
    built.rewritten[clamped->diff_id()] = epoch;
  }
  clamp_config(config, built.base_layers, epoch);
  set_config(built, std::move(config));
  return built;
}

Result<BuiltPlatform> squash_new_layers(store::Store& store, BuiltPlatform built) {
  if (built.diff_ids.size() < built.base_layers + 2) return built;
  TRY(store.hold());
  oci::ImageConfig config = TRY(oci::ImageConfig::parse(built.config_json));
  std::vector<store::LayerPtr> layers = TRY(open_layers(store, built.diff_ids));
  const auto middle = layers.begin() + static_cast<ptrdiff_t>(built.base_layers);
  const std::vector<store::LayerPtr> below(layers.begin(), middle);
  const std::vector<store::LayerPtr> above(middle, layers.end());
  const store::LayerPtr merged =
      TRY_CONTEXT(store::merge_layers(store, below, above), "squash the new layers");
  squash_history(config, built);
  built.diff_ids.resize(built.base_layers);
  built.diff_ids.push_back(merged->diff_id());
  built.rewritten.clear();
  set_config(built, std::move(config));
  return built;
}

}  // namespace kasane::transfer
