#include "build/assemble.h"

namespace kasane::build {
namespace {

constexpr const char* kDockerfileComment = "buildkit.dockerfile.v0";
constexpr const char* kExporterComment = "buildkit.exporter.image.v0";

// Layers of the base that its history does not mention still need an entry each.
void complete_base_history(oci::ImageConfig& config) {
  size_t layers = 0;
  for (const oci::HistoryEntry& entry : config.history) layers += !entry.empty_layer;
  for (; layers < config.diff_ids.size(); ++layers) {
    oci::HistoryEntry entry;
    entry.comment = kExporterComment;
    config.history.push_back(entry);
  }
}

// J19: entries without a time take that of the first new layer, later ones that of the layer
// before them.
void fill_times(std::vector<oci::HistoryEntry>& history) {
  std::string time;
  bool missing = false;
  for (const oci::HistoryEntry& entry : history) {
    if (entry.created.empty()) {
      missing = true;
    } else {
      time = entry.created;
      if (missing) break;
    }
  }
  missing = false;
  for (oci::HistoryEntry& entry : history) {
    if (entry.created.empty()) {
      missing = true;
      entry.created = time;
    } else if (missing) {
      time = entry.created;
    }
  }
}

}  // namespace

oci::ImageConfig assemble_config(const Target& target, const std::map<VertexId, VertexResult>& results,
                                 std::optional<int64_t> epoch) {
  oci::ImageConfig config = target.config;
  complete_base_history(config);
  std::string epoch_text = epoch ? oci::format_time(*epoch * 1'000'000'000) : std::string();
  config.diff_ids.clear();
  if (target.result != kNoVertex)
    for (const store::LayerPtr& layer : results.at(target.result).layers)
      config.diff_ids.push_back(layer->diff_id());
  for (const HistoryItem& item : target.history) {
    oci::HistoryEntry entry;
    entry.created_by = item.created_by;
    entry.comment = kDockerfileComment;
    entry.empty_layer = item.empty_layer;
    if (item.vertex != kNoVertex && results.contains(item.vertex))
      entry.created = oci::format_time(results.at(item.vertex).created_ns);
    if (epoch) entry.created = epoch_text;
    config.history.push_back(std::move(entry));
  }
  fill_times(config.history);
  if (epoch && !target.history.empty())
    config.created = epoch_text;
  else if (!config.history.empty())
    config.created = config.history.back().created;
  return config;
}

}  // namespace kasane::build
