// Upper directory of a RUN step → layer, without writing a tar. Three passes: list all
// entries with their metadata, find what overlayfs only copied up, then read the contents
// once for their digests and the DiffID.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>

#include "store/layer_internal.h"
#include "store/rootfs_view.h"
#include "store/upper_scan.h"
#include "tar/path.h"
#include "tar/whiteout.h"

namespace kasane::store {
namespace {

// A directory that overlayfs copied up for a child that is gone again, or for nothing.
// What it says is what the layers below say.
bool same_as_below(const UpperNode& node, const RootfsView& below) {
  const std::optional<Found> found = below.lookup(node.entry.path);
  if (!found || found->type() != tar::EntryType::kDirectory || node.opaque) return false;
  if (found->implicit)
    return node.entry.mode == 0755 && node.entry.uid == 0 && node.entry.gid == 0 &&
           node.entry.mtime == Timespec{} && node.entry.xattrs.empty();
  const EntryView view = found->view();
  return node.entry.mode == view.mode && node.entry.uid == view.uid && node.entry.gid == view.gid &&
         node.entry.mtime == view.mtime && node.entry.xattrs == view.xattrs;
}

class UpperReader {
 public:
  UpperReader(UniqueFd root, const AdoptOptions& options)
      : root_(std::move(root)), options_(options), below_(options.below) {}

  Result<LayerSummary> run(const std::string& layer_directory) {
    nodes_ = TRY(scan_upper(root_.get()));
    TRY(settle_opaque());
    mark_noise();
    TRY(remove_unlisted());
    clamp_times();
    link_files();
    std::unique_ptr<CanonicalBuilder> builder =
        TRY(CanonicalBuilder::create(layer_directory, false));
    for (const UpperNode& node : nodes_)
      if (!node.removed) TRY_CONTEXT(emit(node, *builder), "read '" + node.entry.path + "'");
    TRY(restore_times());
    const LayerSummary summary = TRY(builder->finish(false));
    TRY(persist(layer_directory));
    return summary;
  }

 private:
  Result<void> settle_opaque();
  void mark_noise();
  Result<void> remove_unlisted();
  void clamp_times();
  void link_files();
  Result<void> emit(const UpperNode& node, CanonicalBuilder& builder);
  Result<void> restore_times();
  Result<void> persist(const std::string& layer_directory);

  UniqueFd root_;
  const AdoptOptions& options_;
  RootfsView below_;
  std::vector<UpperNode> nodes_;
};

// overlayfs marks every new directory opaque. Where nothing lies below, that says nothing,
// but it would make the layer depend on how it was built: it is dropped, from the tree too.
Result<void> UpperReader::settle_opaque() {
  std::vector<UpperNode> kept;
  kept.reserve(nodes_.size());
  for (UpperNode& node : nodes_) {
    if (node.kind == UpperKind::kOpaqueMarker) {
      const std::string directory(tar::parent_path(node.entry.path));
      const std::optional<Found> found = below_.lookup(directory);
      const bool hides = found && found->type() == tar::EntryType::kDirectory;
      if (!hides) {
        UniqueFd fd = TRY(open_in_tree(root_.get(), directory, O_RDONLY | O_DIRECTORY));
        (void)::fremovexattr(fd.get(), "trusted.overlay.opaque");
        (void)::fremovexattr(fd.get(), "user.overlay.opaque");
        continue;
      }
    }
    kept.push_back(std::move(node));
  }
  nodes_ = std::move(kept);
  std::vector<std::string> opaque;
  for (const UpperNode& node : nodes_)
    if (node.kind == UpperKind::kOpaqueMarker)
      opaque.emplace_back(tar::parent_path(node.entry.path));
  std::sort(opaque.begin(), opaque.end());
  for (UpperNode& node : nodes_)
    if (node.entry.type == tar::EntryType::kDirectory)
      node.opaque = std::binary_search(opaque.begin(), opaque.end(), node.entry.path);
  return {};
}

// Children come after their parents, so one pass from the end sees all children of a
// directory before the directory.
void UpperReader::mark_noise() {
  std::vector<std::string_view> needed;  // directories that have something that stays
  for (auto node = nodes_.rbegin(); node != nodes_.rend(); ++node) {
    const std::string_view path = node->entry.path;
    if (node->kind == UpperKind::kSocket) {
      node->removed = true;
      continue;
    }
    if (node->entry.type == tar::EntryType::kDirectory) {
      const bool has_children = !needed.empty() && needed.back() == path;
      if (has_children) needed.pop_back();
      node->removed = !has_children && same_as_below(*node, below_);
    }
    const std::string_view parent = tar::parent_path(path);
    if (!node->removed && !parent.empty() && (needed.empty() || needed.back() != parent))
      needed.push_back(parent);
  }
}

// So that tree and index say the same: another stack may get this very tree.
Result<void> UpperReader::remove_unlisted() {
  for (auto node = nodes_.rbegin(); node != nodes_.rend(); ++node) {
    if (!node->removed) continue;
    const std::string_view parent = tar::parent_path(node->entry.path);
    UniqueFd fd = TRY(open_in_tree(root_.get(), parent, O_RDONLY | O_DIRECTORY));
    const std::string name(tar::base_name(node->entry.path));
    const int flags = node->entry.type == tar::EntryType::kDirectory ? AT_REMOVEDIR : 0;
    if (::unlinkat(fd.get(), name.c_str(), flags) != 0)
      return Error::from_errno(errno, "remove '" + node->entry.path + "'");
    auto owner = std::lower_bound(nodes_.begin(), nodes_.end(), parent,
                                  [](const UpperNode& n, std::string_view path) {
                                    return tar::compare_paths(n.entry.path, path) < 0;
                                  });
    if (owner != nodes_.end() && owner->entry.path == parent) owner->touched = true;
  }
  return {};
}

void UpperReader::clamp_times() {
  if (!options_.epoch) return;
  const Timespec epoch{*options_.epoch, 0};
  for (UpperNode& node : nodes_) {
    if (node.kind != UpperKind::kEntry || node.entry.mtime <= epoch) continue;
    node.entry.mtime = epoch;
    node.touched = true;
  }
}

// The first path of an inode is the file, the others are links to it.
void UpperReader::link_files() {
  std::map<std::pair<dev_t, ino_t>, std::string_view> first;
  for (UpperNode& node : nodes_) {
    if (node.removed || node.links < 2 || node.kind != UpperKind::kEntry ||
        node.entry.type == tar::EntryType::kDirectory)
      continue;
    const auto [known, inserted] = first.try_emplace({node.device, node.inode}, node.entry.path);
    if (inserted) continue;
    node.entry.type = tar::EntryType::kHardlink;
    node.entry.link_target = std::string(known->second);
    node.entry.size = 0;
    node.entry.dev_major = node.entry.dev_minor = 0;
    node.entry.xattrs.clear();
  }
}

Result<void> UpperReader::emit(const UpperNode& node, CanonicalBuilder& builder) {
  if (node.entry.type != tar::EntryType::kFile || node.kind != UpperKind::kEntry)
    return builder.add(node.entry);
  UniqueFd fd = TRY(open_in_tree(root_.get(), node.entry.path, O_RDONLY | O_NONBLOCK | O_NOCTTY));
  struct stat st;
  if (::fstat(fd.get(), &st) != 0) return Error::from_errno(errno, "stat");
  if (!S_ISREG(st.st_mode) || st.st_ino != node.inode)
    return Error(ErrorKind::kConflict, "it was replaced while the step's result was read");
  tar::Entry entry = node.entry;
  entry.xattrs = TRY(read_xattrs(fd.get(), nullptr));
  TRY(check_upper_xattrs(entry.xattrs, nullptr));
  if (entry.size == 0) return builder.add(std::move(entry));
  FdSource content(fd.get(), entry.path);
  TRY(builder.add_file(entry, content, nullptr));
  return {};
}

// Times that were clamped, or that removing a child changed. Children first.
Result<void> UpperReader::restore_times() {
  for (auto node = nodes_.rbegin(); node != nodes_.rend(); ++node) {
    if (!node->touched || node->removed) continue;
    UniqueFd parent =
        TRY(open_in_tree(root_.get(), tar::parent_path(node->entry.path), O_RDONLY | O_DIRECTORY));
    const std::string name(tar::base_name(node->entry.path));
    const timespec time{static_cast<time_t>(node->entry.mtime.sec),
                        static_cast<long>(node->entry.mtime.nsec)};
    const timespec times[2] = {time, time};
    if (::utimensat(parent.get(), name.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0)
      return Error::from_errno(errno, "set the time of '" + node->entry.path + "'");
  }
  return {};
}

// The tree and its index (on the same file system) are on disk when this returns. A few files are synced one by one: syncfs(2) waits for
// what everybody else on this file system has written, which can be seconds of somebody's
// compiler, while most steps write little.
Result<void> UpperReader::persist(const std::string& layer_directory) {
  constexpr size_t kOneByOne = 16;
  const size_t count = static_cast<size_t>(
      std::count_if(nodes_.begin(), nodes_.end(), [](const UpperNode& n) { return !n.removed; }));
  if (count > kOneByOne) {
    if (::syncfs(root_.get()) != 0) return Error::from_errno(errno, "syncfs");
    return {};
  }
  auto sync = [](int fd, const std::string& path) -> Result<void> {
    if (::fsync(fd) != 0) return Error::from_errno(errno, "fsync '" + path + "'");
    return {};
  };
  for (const UpperNode& node : nodes_) {
    const bool file = node.entry.type == tar::EntryType::kFile;
    if (node.removed || node.kind != UpperKind::kEntry ||
        (!file && node.entry.type != tar::EntryType::kDirectory))
      continue;  // a name only: its directory holds it
    UniqueFd fd = TRY(open_in_tree(root_.get(), node.entry.path,
                                   file ? O_RDONLY | O_NONBLOCK | O_NOCTTY : O_RDONLY | O_DIRECTORY));
    TRY(sync(fd.get(), node.entry.path));
  }
  const std::string index = layer_directory + "/index";
  UniqueFd index_fd = TRY(open_file(index, O_RDONLY | O_NOFOLLOW));
  TRY(sync(index_fd.get(), index));
  return sync(root_.get(), ".");
}

}  // namespace

Result<LayerSummary> read_upper(const std::string& upper_path, const std::string& layer_directory,
                                const AdoptOptions& options) {
  UniqueFd root = TRY(open_file(upper_path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  UpperReader reader(std::move(root), options);
  return reader.run(layer_directory);
}

Result<LayerPtr> adopt_tree(Store& store, const std::string& upper_dir,
                            const AdoptOptions& options) {
  TRY(store.hold());
  Store::Ingest ingest = TRY(store.new_ingest());
  const std::string directory = ingest.path() + "/layer";
  const std::string tree = directory + "/tree";
  TRY(make_directories(directory, 0700));
  auto work = [&]() -> Result<void> {
    TRY(read_upper(upper_dir, directory, options));
    return rename_noreplace(upper_dir, tree);
  };
  TRY_CONTEXT(run_with_report(store.tree_runner(), work), "make a layer of a step's result");
  std::shared_ptr<const LayerIndex> index = TRY(LayerIndex::open(directory + "/index"));
  return commit_layer(store, directory, index->summary());
}

}  // namespace kasane::store
