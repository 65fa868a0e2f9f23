#include "store/check_tree.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "store/layer_internal.h"
#include "tar/whiteout.h"

namespace kasane::store {
namespace {

Error damaged(std::string_view path, const std::string& why) {
  return Error(ErrorKind::kCorrupt, "in its tree '" + std::string(path) + "' " + why);
}

bool type_fits(tar::EntryType type, mode_t mode) {
  switch (type) {
    case tar::EntryType::kFile:
      return S_ISREG(mode);
    case tar::EntryType::kDirectory:
      return S_ISDIR(mode);
    case tar::EntryType::kSymlink:
      return S_ISLNK(mode);
    // A hard link has the type of what it names; where devices cannot be made, a
    // placeholder stands for them.
    default:
      return true;
  }
}

Result<void> check_entry(int tree_fd, const EntryView& entry) {
  Result<UniqueFd> fd = open_in_root(tree_fd, entry.path.empty() ? "." : std::string(entry.path),
                                     O_PATH | O_NOFOLLOW);
  if (!fd && fd.error().kind() == ErrorKind::kPermission) return std::move(fd.error());
  if (!fd) return damaged(entry.path, "is missing");
  struct stat st;
  if (::fstat(fd->get(), &st) != 0) return Error::from_errno(errno, "stat a file of the tree");
  if (!type_fits(entry.type, st.st_mode)) return damaged(entry.path, "has another type");
  if (entry.type == tar::EntryType::kFile && static_cast<uint64_t>(st.st_size) != entry.size)
    return damaged(entry.path, "has another size");
  if (entry.type == tar::EntryType::kSymlink) {
    std::string target(entry.link_target.size() + 1, '\0');
    ssize_t length = ::readlinkat(fd->get(), "", target.data(), target.size());
    if (length < 0 || target.substr(0, static_cast<size_t>(length)) != entry.link_target)
      return damaged(entry.path, "points elsewhere");
  }
  return {};
}

Result<void> check_entries(const std::string& tree, const LayerIndex& index) {
  UniqueFd tree_fd = TRY(open_file(tree, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  for (size_t i = 0; i < index.size(); ++i) {
    EntryView entry = index.at(i);
    Result<tar::Whiteout> whiteout = tar::classify_whiteout(entry.path);
    if (!whiteout || whiteout->kind != tar::WhiteoutKind::kNone) continue;
    TRY(check_entry(tree_fd.get(), entry));
  }
  return {};
}

bool needs_runner(const TreeRunner& runner) { return ::geteuid() != 0 && runner; }

}  // namespace

Result<void> check_tree(const Layer& layer, const TreeRunner& runner) {
  auto work = [&] { return check_entries(layer.tree_path(), layer.index()); };
  return needs_runner(runner) ? run_with_report(runner, work) : work();
}

Result<std::unique_ptr<ByteSource>> open_tar_from_tree(const Layer& layer,
                                                       const TreeRunner& runner) {
  std::shared_ptr<const LayerIndex> index = TRY(LayerIndex::open(layer.directory() + "/index"));
  std::unique_ptr<ByteSource> inner;
  if (needs_runner(runner)) {
    auto produce = [index, tree = layer.tree_path(),
                    split = layer.split_path()](ByteSink& out) -> Result<void> {
      std::unique_ptr<ByteSource> tar = TRY(open_tree_tar(index, tree, split));
      TRY(copy_stream(*tar, out));
      return {};
    };
    inner = TRY(piped_source(runner, produce));
  } else {
    inner = TRY(open_tree_tar(index, layer.tree_path(), layer.split_path()));
  }
  return verified_source(std::move(inner), layer.diff_id(), index->summary().tar_size, "its tree");
}

}  // namespace kasane::store
