#include "store/rootfs_merge.h"

#include <algorithm>

#include "tar/whiteout.h"

namespace kasane::store::rootfs {
namespace {

// The component of `path` that follows the prefix; empty for what does not belong there
// (only a damaged index has such paths).
std::string_view component(std::string_view path, size_t prefix) {
  if (path.size() <= prefix) return {};
  const std::string_view rest = path.substr(prefix);
  return rest.substr(0, rest.find('/'));
}

// First position in [low, high) whose component is not less than `name`.
size_t lower_bound(const LayerIndex& index, size_t low, size_t high, size_t prefix,
                   std::string_view name) {
  while (low < high) {
    const size_t middle = low + (high - low) / 2;
    if (component(index.path_at(middle), prefix) < name)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

// End of the run of entries from `begin` on that have this component.
size_t run_end(const LayerIndex& index, size_t begin, size_t high, size_t prefix,
               std::string_view name) {
  size_t low = begin;  // everything before it belongs to the run
  size_t step = 1;
  // Most runs are short: gallop, then bisect.
  while (low + step <= high && component(index.path_at(low + step - 1), prefix) == name) {
    low += step;
    step *= 2;
  }
  high = std::min(high, low + step);
  while (low < high) {
    const size_t middle = low + (high - low) / 2;
    if (component(index.path_at(middle), prefix) == name)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

bool has_child(const Part& part, size_t prefix, std::string_view name) {
  const size_t i = lower_bound(*part.index, part.begin, part.end, prefix, name);
  return i < part.end && component(part.index->path_at(i), prefix) == name;
}

// What one layer has under one name of the directory, or a whiteout of that name.
struct Item {
  std::string_view name;
  size_t part = 0;
  bool whiteout = false;
  std::optional<size_t> position;
  size_t begin = 0;
  size_t end = 0;
};

// Appends the immediate children of `part`; true when the directory is opaque there.
bool collect(const Part& part, size_t number, size_t prefix, std::vector<Item>& items) {
  bool opaque = false;
  for (size_t i = part.begin; i < part.end;) {
    const std::string_view path = part.index->path_at(i);
    Item item;
    item.name = component(path, prefix);
    if (item.name.empty()) {
      ++i;
      continue;
    }
    item.part = number;
    item.begin = i;
    if (path.size() == prefix + item.name.size()) item.position = item.begin++;
    item.end = run_end(*part.index, item.begin, part.end, prefix, item.name);
    i = std::max(item.end, i + 1);
    if (item.name.starts_with(tar::kWhiteoutPrefix)) {
      opaque |= item.name == tar::kOpaqueName;
      item.name.remove_prefix(tar::kWhiteoutPrefix.size());
      item.whiteout = true;
    }
    items.push_back(item);
  }
  return opaque;
}

// Items of one name, highest layer first → the visible child, if any.
std::optional<Child> merge_group(const std::vector<Part>& parts, const Item* begin,
                                 const Item* end) {
  Child child;
  bool visible = false;
  for (const Item* item = begin; item != end;) {
    const size_t number = item->part;
    bool stop = false;
    // A whiteout hides layers below its own only, so it ends the search after its layer.
    for (; item != end && item->part == number; ++item) {
      if (item->whiteout) {
        stop = true;
        continue;
      }
      const Part& part = parts[number];
      const bool directory =
          !item->position || part.index->type_at(*item->position) == tar::EntryType::kDirectory;
      if (visible && !directory) {
        stop = true;
        continue;
      }
      if (!visible || (!child.position && item->position)) {
        child.name = item->name;
        child.layer = part.layer;
        child.position = item->position;
      }
      visible = true;
      if (!directory)
        stop = true;
      else if (item->begin < item->end)
        child.parts.push_back(Part{part.index, part.layer, item->begin, item->end});
    }
    if (stop) break;
  }
  if (!visible) return std::nullopt;
  return child;
}

// A lower layer's part is dropped when a higher one is opaque; where the marker lies in
// the child's own listing, that is only seen when the child is opened.
size_t prefix_of(std::string_view directory) {
  return directory.empty() ? 0 : directory.size() + 1;
}

}  // namespace

Part root_part(const LayerIndex& index) {
  const auto [begin, end] = index.subtree("");
  return Part{&index, 0, begin, end};
}

Step step_into(const Part& directory, size_t prefix, std::string_view name) {
  Step step;
  step.below = directory;
  if (directory.index->has_whiteouts()) {
    step.hides_lower =
        has_child(directory, prefix, std::string(tar::kWhiteoutPrefix) + std::string(name)) ||
        has_child(directory, prefix, tar::kOpaqueName);
  }
  const LayerIndex& index = *directory.index;
  size_t begin = lower_bound(index, directory.begin, directory.end, prefix, name);
  if (begin < directory.end && index.path_at(begin).size() == prefix + name.size() &&
      component(index.path_at(begin), prefix) == name)
    step.position = begin++;
  step.below.begin = begin;
  step.below.end = run_end(index, begin, directory.end, prefix, name);
  return step;
}

std::optional<MergedDirectory> open_directory(const std::vector<LayerPtr>& layers,
                                              std::string_view path) {
  if (!path.empty() && has_whiteout_component(path)) return std::nullopt;
  MergedDirectory merged;
  merged.path = std::string(path);
  bool exists = path.empty();
  for (size_t number = layers.size(); number-- > 0;) {
    const LayerIndex& index = layers[number]->index();
    Part part = root_part(index);
    bool stop = false;
    bool listed = true;
    for (size_t begin = 0; begin < path.size() && listed;) {
      const size_t end = std::min(path.find('/', begin), path.size());
      const Step step = step_into(part, begin, path.substr(begin, end - begin));
      stop |= step.hides_lower;
      const bool directory =
          !step.position || index.type_at(*step.position) == tar::EntryType::kDirectory;
      stop |= !directory;
      listed = directory && (step.position || step.below.begin < step.below.end);
      part = step.below;
      begin = end + 1;
    }
    part.layer = number;
    if (listed) {
      exists = true;
      if (part.begin < part.end) merged.parts.push_back(part);
      if (index.has_whiteouts() && has_child(part, prefix_of(path), tar::kOpaqueName)) stop = true;
    }
    if (stop) break;
  }
  if (!exists) return std::nullopt;
  return merged;
}

std::vector<Child> children_of(const MergedDirectory& directory) {
  const size_t prefix = prefix_of(directory.path);
  std::vector<Item> items;
  bool sorted = directory.parts.size() == 1;
  for (size_t number = 0; number < directory.parts.size(); ++number)
    if (collect(directory.parts[number], number, prefix, items)) break;
  if (directory.parts.size() == 1 && directory.parts[0].index->has_whiteouts()) sorted = false;
  if (!sorted)
    std::stable_sort(items.begin(), items.end(), [](const Item& a, const Item& b) {
      return a.name != b.name ? a.name < b.name : a.part < b.part;
    });
  std::vector<Child> children;
  for (size_t i = 0; i < items.size();) {
    size_t end = i + 1;
    while (end < items.size() && items[end].name == items[i].name) ++end;
    if (std::optional<Child> child = merge_group(directory.parts, &items[i], &items[0] + end))
      children.push_back(std::move(*child));
    i = end;
  }
  return children;
}

bool has_whiteout_component(std::string_view path) {
  for (size_t at = path.find(tar::kWhiteoutPrefix); at != std::string_view::npos;
       at = path.find(tar::kWhiteoutPrefix, at + 1))
    if (at == 0 || path[at - 1] == '/') return true;
  return false;
}

}  // namespace kasane::store::rootfs
