#include "cli/disk_usage.h"

#include <algorithm>
#include <map>

#include "cli/images.h"

namespace kasane::cli {

Result<DiskUsage> disk_usage(store::Store& store) {
  DiskUsage out;
  std::vector<store::ImageRow> rows = TRY(store.list_images());
  // docker counts by chain: a layer on other layers is another one. The stack of digests is
  // numbered instead of hashed: (number of the stack below, layer) → number.
  struct Chain {
    uint64_t bytes = 0, images = 0;
  };
  std::map<std::pair<size_t, Sha256Digest>, size_t> numbers;
  std::vector<Chain> chains(1);
  std::vector<std::vector<size_t>> chains_of(rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    const std::vector<Sha256Digest> layers = TRY(store.image_layers(rows[i].id));
    const std::vector<uint64_t> sizes = TRY(store.layer_sizes(layers));
    size_t below = 0;
    for (size_t n = 0; n < layers.size(); ++n) {
      const auto [found, added] = numbers.emplace(std::pair(below, layers[n]), chains.size());
      if (added) chains.push_back({sizes[n], 0});
      below = found->second;
      ++chains[below].images;
      chains_of[i].push_back(below);
    }
  }
  for (const Chain& chain : chains) out.layer_bytes += chain.bytes;
  for (size_t i = 0; i < rows.size(); ++i) {
    ImageUsage usage;
    usage.created = TRY(created_seconds(store, rows[i]));
    for (size_t number : chains_of[i])
      if (chains[number].images > 1) usage.shared_bytes += chains[number].bytes;
    usage.image = std::move(rows[i]);
    out.images.push_back(std::move(usage));
  }
  std::stable_sort(out.images.begin(), out.images.end(), [](const auto& a, const auto& b) {
    return a.image.created_ns > b.image.created_ns;
  });
  out.steps = TRY(store.list_steps());
  out.step_bytes = TRY(store.step_usage()).bytes;
  return out;
}

}  // namespace kasane::cli
