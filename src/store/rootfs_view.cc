#include "store/rootfs_view.h"

#include <deque>

#include "base/stream.h"
#include "store/rootfs_merge.h"
#include "tar/path.h"
#include "tar/whiteout.h"

namespace kasane::store {
namespace {

using rootfs::Child;
using rootfs::MergedDirectory;
using rootfs::Part;

constexpr int kMaxLinks = 255;

// Components of a path as a user or a symlink writes it; "." and empty ones are dropped.
std::deque<std::string> split(std::string_view path) {
  std::deque<std::string> parts;
  while (!path.empty()) {
    const size_t end = std::min(path.find('/'), path.size());
    const std::string_view part = path.substr(0, end);
    if (!part.empty() && part != ".") parts.emplace_back(part);
    path.remove_prefix(std::min(end + 1, path.size()));
  }
  return parts;
}

std::string join(std::string_view directory, std::string_view name) {
  std::string path(directory);
  if (!path.empty()) path += '/';
  path += name;
  return path;
}

// A hard link stands for the file that it names.
Found found_at(const Layer* layer, size_t position, std::string path) {
  const LayerIndex& index = layer->index();
  if (index.type_at(position) == tar::EntryType::kHardlink) {
    const std::optional<size_t> target = index.find(index.at(position).link_target);
    if (target) position = *target;
  }
  return Found{layer, position, std::move(path), false};
}

enum class Answer { kFound, kHidden, kLower };

// What one layer says of `path`. kLower: nothing (an implicit directory is noted), ask the
// layer below. kHidden: neither this layer nor one below shows it.
Answer ask_layer(const LayerIndex& index, std::string_view path, size_t& position, bool& implicit) {
  Part part = rootfs::root_part(index);
  bool hides_lower = false;
  size_t prefix = 0;
  for (size_t begin = 0;;) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view name = path.substr(begin, end - begin);
    const rootfs::Step step = rootfs::step_into(part, prefix, name);
    hides_lower |= step.hides_lower;
    const bool last = end == path.size();
    if (step.position) {
      const bool directory = index.type_at(*step.position) == tar::EntryType::kDirectory;
      if (last) {
        position = *step.position;
        return Answer::kFound;
      }
      if (!directory) return Answer::kHidden;
    } else if (step.below.begin == step.below.end) {
      return hides_lower ? Answer::kHidden : Answer::kLower;
    } else if (last) {
      implicit = true;
      return hides_lower ? Answer::kHidden : Answer::kLower;
    }
    part = step.below;
    begin = end + 1;
    prefix = begin;
  }
}

}  // namespace

EntryView Found::view() const { return layer->index().at(position); }

tar::EntryType Found::type() const {
  return implicit ? tar::EntryType::kDirectory : layer->index().type_at(position);
}

std::vector<LayerPtr> mounted_layers(const std::vector<LayerPtr>& layers) {
  size_t first = 0;
  for (size_t i = 1; i < layers.size(); ++i) {
    const LayerIndex& index = layers[i]->index();
    if (index.has_whiteouts() && index.find(tar::kOpaqueName)) first = i;
  }
  return {layers.begin() + static_cast<ptrdiff_t>(first), layers.end()};
}

RootfsView::RootfsView(std::vector<LayerPtr> layers) : layers_(std::move(layers)) {}

std::optional<Found> RootfsView::lookup(std::string_view path) const {
  if (!path.empty() && rootfs::has_whiteout_component(path)) return std::nullopt;
  const Layer* implicit_in = nullptr;
  for (auto layer = layers_.rbegin(); layer != layers_.rend(); ++layer) {
    const LayerIndex& index = (*layer)->index();
    if (path.empty()) {
      if (index.size() > 0 && index.path_at(0).empty()) return Found{layer->get(), 0, "", false};
      continue;
    }
    size_t position = 0;
    bool implicit = false;
    const Answer answer = ask_layer(index, path, position, implicit);
    if (implicit && !implicit_in) implicit_in = layer->get();
    if (answer == Answer::kFound) {
      // Below an implicit directory only a directory shows through.
      if (implicit_in && index.type_at(position) != tar::EntryType::kDirectory) break;
      return found_at(layer->get(), position, std::string(path));
    }
    if (answer == Answer::kHidden) break;
  }
  if (path.empty() || implicit_in) return Found{implicit_in, 0, std::string(path), true};
  return std::nullopt;
}

Result<std::string> RootfsView::resolve(std::string_view path, bool follow_last,
                                        bool allow_missing) const {
  std::deque<std::string> pending = split(path);
  std::string real;
  int links = 0;
  bool missing = false;  // `real` does not exist: the rest is only cleaned
  while (!pending.empty()) {
    const std::string name = std::move(pending.front());
    pending.pop_front();
    if (name == "..") {
      real = std::string(tar::parent_path(real));
      missing = missing && !lookup(real);
      continue;
    }
    std::string next = join(real, name);
    const std::optional<Found> found = missing ? std::nullopt : lookup(next);
    if (!found) {
      if (!allow_missing)
        return Error(ErrorKind::kNotFound, "'/" + next + "' does not exist in the image");
      missing = true;
      real = std::move(next);
      continue;
    }
    const tar::EntryType type = found->type();
    if (type == tar::EntryType::kSymlink && (follow_last || !pending.empty())) {
      if (++links > kMaxLinks)
        return Error(ErrorKind::kInvalid,
                     "'/" + std::string(path) + "': Too many levels of symbolic links (ELOOP)");
      const EntryView view = found->view();
      if (view.link_target.starts_with('/')) real.clear();
      std::deque<std::string> more = split(view.link_target);
      pending.insert(pending.begin(), more.begin(), more.end());
      continue;
    }
    if (type != tar::EntryType::kDirectory && !pending.empty())
      return Error(ErrorKind::kInvalid, "'/" + next + "' in the image is not a directory");
    real = std::move(next);
  }
  return real;
}

std::vector<std::string> RootfsView::list(std::string_view directory) const {
  std::vector<std::string> names;
  std::optional<MergedDirectory> merged = rootfs::open_directory(layers_, directory);
  if (!merged) return names;
  for (const Child& child : rootfs::children_of(*merged)) names.emplace_back(child.name);
  return names;
}

namespace {

using Visit = std::function<Result<void>(const Found&)>;

// Everything below comes from one layer that lists all directories: its index, in order,
// is the answer.
Result<void> walk_single(const Part& part, const Layer* layer, const Visit& visit) {
  const LayerIndex& index = layer->index();
  for (size_t i = part.begin; i < part.end; ++i) {
    const std::string_view path = index.path_at(i);
    if (tar::base_name(path).starts_with(tar::kWhiteoutPrefix)) continue;
    TRY(visit(found_at(layer, i, std::string(path))));
  }
  return {};
}

Result<void> walk_merged(const std::vector<LayerPtr>& layers, const MergedDirectory& directory,
                         const Visit& visit) {
  if (directory.parts.size() == 1) {
    const Part& part = directory.parts.front();
    if (!part.index->has_implicit_parents())
      return walk_single(part, layers[part.layer].get(), visit);
  }
  for (const Child& child : rootfs::children_of(directory)) {
    std::string path = join(directory.path, child.name);
    const Layer* layer = layers[child.layer].get();
    if (child.position)
      TRY(visit(found_at(layer, *child.position, path)));
    else
      TRY(visit(Found{layer, 0, path, true}));
    if (!child.parts.empty())
      TRY(walk_merged(layers, MergedDirectory{std::move(path), child.parts}, visit));
  }
  return {};
}

}  // namespace

Result<void> RootfsView::walk(std::string_view directory, const Visit& visit) const {
  std::optional<MergedDirectory> merged = rootfs::open_directory(layers_, directory);
  if (!merged)
    return Error(ErrorKind::kNotFound,
                 "'/" + std::string(directory) + "' is not a directory of the image");
  return walk_merged(layers_, *merged, visit);
}

Result<std::string> RootfsView::read_file(std::string_view path, uint64_t max_bytes) const {
  const std::string real = TRY(resolve(path, true, false));
  const std::optional<Found> found = lookup(real);
  if (!found || found->type() != tar::EntryType::kFile)
    return Error(ErrorKind::kInvalid, "'/" + real + "' in the image is not a regular file");
  const uint64_t size = found->view().size;
  if (size > max_bytes)
    return Error(ErrorKind::kLimit, "'/" + real + "' in the image has " + std::to_string(size) +
                                        " bytes; at most " + std::to_string(max_bytes) +
                                        " are read");
  std::unique_ptr<ByteSource> content = TRY(found->layer->open_content(found->position));
  StringSink text;
  TRY(copy_stream(*content, text, max_bytes));
  return std::move(text.text);
}

}  // namespace kasane::store
