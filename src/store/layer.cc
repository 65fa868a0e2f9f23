#include "store/layer.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "store/layer_internal.h"

namespace kasane::store {
namespace {

bool exists(const std::string& path) {
  return ::faccessat(AT_FDCWD, path.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

bool denied(const Error& error) {
  return error.errno_value() == EACCES || error.errno_value() == EPERM;
}

Error no_body(const Layer& layer, std::string_view wanted) {
  return Error(ErrorKind::kCorrupt, layer_name(layer.diff_id()) +
                                        " has neither its tar nor its "
                                        "unpacked tree in the store; " +
                                        std::string(wanted) + " cannot be read")
      .hint("run `kasane store check`, then pull or build the image again");
}

// The index is immutable and always there, so it serves as the lock file of its layer.
Result<UniqueFd> lock_layer(const std::string& directory) {
  UniqueFd fd = TRY(open_file(directory + "/index", O_RDONLY));
  while (::flock(fd.get(), LOCK_EX) != 0)
    if (errno != EINTR) return Error::from_errno(errno, "lock " + directory + "/index");
  return fd;
}

// Whether a layer directory can be used: a sound index and a body of the right form.
bool is_sound(const std::string& directory, const Sha256Digest& diff_id) {
  Result<std::shared_ptr<const LayerIndex>> index = LayerIndex::open(directory + "/index", true);
  if (!index || (*index)->summary().diff_id != diff_id) return false;
  if (exists(directory + "/tree")) return true;
  struct stat st;
  return ::lstat((directory + "/blob").c_str(), &st) == 0 && S_ISREG(st.st_mode) &&
         static_cast<uint64_t>(st.st_size) == (*index)->summary().tar_size;
}

// The layer is there already. A damaged one is exchanged for the new copy (and removed
// with the ingest directory); a sound one is kept, and gets the tree if only we have it.
Result<void> merge_existing(const TreeRunner& runner, const std::string& fresh,
                            const std::string& target, const Sha256Digest& diff_id) {
  if (!is_sound(target, diff_id)) {
    if (::syscall(SYS_renameat2, AT_FDCWD, fresh.c_str(), AT_FDCWD, target.c_str(),
                  RENAME_EXCHANGE) != 0)
      return Error::from_errno(errno, "replace the damaged " + target);
    return {};
  }
  if (!exists(fresh + "/tree")) return {};
  UniqueFd lock = TRY(lock_layer(target));
  if (!exists(target + "/tree")) {
    TRY(run_with_report(runner,
                        [&] { return rename_noreplace(fresh + "/tree", target + "/tree"); }));
    return sync_directory(target);
  }
  return {};
}

Result<void> unpack_into(const Layer& layer, const std::string& ingest, const TreeRunner& runner) {
  const std::string tree = ingest + "/tree";
  const std::string target = layer.tree_path();
  return run_with_report(runner, [&]() -> Result<void> {
    auto work = [&]() -> Result<void> {
      TRY(unpack_tree(layer.index(), layer.blob_path(), tree));
      UniqueFd fd = TRY(open_file(tree, O_RDONLY | O_DIRECTORY));
      if (::syncfs(fd.get()) != 0) return Error::from_errno(errno, "syncfs " + tree);
      fd.reset();
      return rename_noreplace(tree, target);
    };
    Result<void> done = work();
    // Here, because its files may belong to ids that only exist in this mapping.
    if (!done) (void)remove_tree(tree).has_value();
    return done;
  });
}

Result<void> write_blob(const Layer& layer, const std::string& path) {
  UniqueFd fd = TRY(open_file(path, O_WRONLY | O_CREAT | O_EXCL, 0644));
  std::unique_ptr<ByteSource> tar = TRY(layer.open_tar());
  FdSink sink(fd.get(), path);
  TRY(copy_stream(*tar, sink));
  return sync_fd(fd.get(), path);
}

}  // namespace

std::string layer_name(const Sha256Digest& diff_id) {
  return "layer " + diff_id.hex().substr(0, 12);
}

bool Layer::has_blob() const { return exists(blob_path()); }
bool Layer::has_tree() const { return exists(tree_path()); }

Result<std::unique_ptr<ByteSource>> Layer::open_tar() const {
  TRY(bring());
  const LayerSummary& summary = index_->summary();
  std::unique_ptr<ByteSource> inner;
  if (has_blob()) {
    UniqueFd fd = TRY(open_file(blob_path(), O_RDONLY | O_NONBLOCK | O_NOFOLLOW));
    inner = file_range_source(std::move(fd), 0, UINT64_MAX, blob_path());
  } else if (!has_tree()) {
    return no_body(*this, "it");
  } else if (::geteuid() != 0 && runner_) {
    auto produce = [index = index_, tree = tree_path(),
                    split = split_path()](ByteSink& out) -> Result<void> {
      std::unique_ptr<ByteSource> tar = TRY(open_tree_tar(index, tree, split));
      TRY(copy_stream(*tar, out));
      return {};
    };
    inner = TRY(piped_source(runner_, produce));
  } else {
    inner = TRY(open_tree_tar(index_, tree_path(), split_path()));
  }
  return verified_source(std::move(inner), summary.diff_id, summary.tar_size,
                         layer_name(summary.diff_id));
}

Result<std::unique_ptr<ByteSource>> Layer::open_content(size_t i) const {
  TRY(bring());
  EntryView entry = index_->at(i);
  if (entry.type == tar::EntryType::kHardlink) {
    const std::optional<size_t> target = index_->find(entry.link_target);
    if (target) entry = index_->at(*target);
  }
  const std::string path(entry.path);
  if (entry.type != tar::EntryType::kFile)
    return Error(ErrorKind::kInvalid, "'" + path + "' is not a regular file");
  if (entry.size == 0) return std::unique_ptr<ByteSource>(std::make_unique<MemorySource>(""));
  std::unique_ptr<ByteSource> inner;
  if (has_blob()) {
    inner = TRY(open_blob_content(entry, blob_path()));
  } else if (has_tree()) {
    UniqueFd tree = TRY(open_file(tree_path(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    Result<UniqueFd> file = open_tree_file(tree.get(), path, entry.size);
    if (file) {
      inner = file_range_source(std::move(*file), 0, UINT64_MAX, path);
    } else if (denied(file.error()) && ::geteuid() != 0 && runner_) {
      auto produce = [tree_path = tree_path(), path,
                      size = entry.size](ByteSink& out) -> Result<void> {
        UniqueFd root = TRY(open_file(tree_path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
        UniqueFd fd = TRY(open_tree_file(root.get(), path, size));
        FdSource source(fd.get(), path);
        TRY(copy_stream(source, out));
        return {};
      };
      inner = TRY(piped_source(runner_, produce));
    } else {
      return file.error();
    }
  } else {
    return no_body(*this, "'" + path + "'");
  }
  return verified_source(std::move(inner), entry.content, entry.size,
                         "'" + path + "' in " + layer_name(diff_id()));
}

Result<std::string> Layer::ensure_tree(Store& store) const {
  TRY(bring());
  if (has_tree()) return tree_path();
  TRY(store.hold());
  UniqueFd lock = TRY(lock_layer(directory_));
  if (has_tree()) return tree_path();
  if (!has_blob()) return no_body(*this, "it");
  Store::Ingest ingest = TRY(store.new_ingest());
  TRY_CONTEXT(unpack_into(*this, ingest.path(), store.tree_runner()),
              "unpack " + layer_name(diff_id()));
  TRY(sync_directory(directory_));
  return tree_path();
}

Result<std::string> Layer::ensure_blob(Store& store) const {
  TRY(bring());
  if (has_blob()) return blob_path();
  TRY(store.hold());
  UniqueFd lock = TRY(lock_layer(directory_));
  if (has_blob()) return blob_path();
  Store::Ingest ingest = TRY(store.new_ingest());
  const std::string path = ingest.path() + "/blob";
  TRY_CONTEXT(write_blob(*this, path), "make the tar of " + layer_name(diff_id()) + " again");
  TRY(rename_noreplace(path, blob_path()));
  TRY(sync_directory(directory_));
  return blob_path();
}

Result<LayerPtr> commit_layer(Store& store, const std::string& layer_directory,
                              const LayerSummary& summary) {
  const std::string layers = store.path("layers");
  const std::string target = layers + "/" + summary.diff_id.hex();
  TRY(make_directories(layers, 0700));
  TRY(sync_directory(layer_directory));
  Result<void> renamed = rename_noreplace(layer_directory, target);
  if (!renamed) {
    if (renamed.error().errno_value() != EEXIST && renamed.error().errno_value() != ENOTEMPTY)
      return renamed.error();
    TRY(merge_existing(store.tree_runner(), layer_directory, target, summary.diff_id));
    if (exists(layer_directory + "/tree"))
      TRY(run_with_report(store.tree_runner(),
                          [&] { return remove_tree(layer_directory + "/tree"); }));
  }
  TRY(sync_directory(layers));
  TRY(store.register_layer(summary));
  return open_layer(store, summary.diff_id);
}

Result<LayerPtr> open_layer(Store& store, const Sha256Digest& diff_id) {
  const std::string directory = store.path("layers/" + diff_id.hex());
  Result<std::shared_ptr<const LayerIndex>> index = LayerIndex::open(directory + "/index");
  if (!index) {
    if (index.error().kind() != ErrorKind::kNotFound) return index.error();
    return Error(ErrorKind::kNotFound, layer_name(diff_id) + " is not in the store")
        .hint("run `kasane store check`, then pull or build the image again");
  }
  if ((*index)->summary().diff_id != diff_id)
    return Error(ErrorKind::kCorrupt, "the index in " + directory + " is that of " +
                                          layer_name((*index)->summary().diff_id))
        .hint("run `kasane store check`");
  return LayerPtr(std::make_shared<Layer>(directory, std::move(*index), store.tree_runner()));
}

Result<bool> adopt_layer(Store& store, const Sha256Digest& diff_id) {
  const std::string layers = store.path("layers"), directory = layers + "/" + diff_id.hex();
  if (!is_sound(directory, diff_id)) return false;
  // Its maker may have died before it synced the name.
  TRY(sync_directory(layers));
  TRY(store.register_layer(TRY(open_layer(store, diff_id))->index().summary()));
  return true;
}

Sha256Digest chain_content_id(const std::vector<LayerPtr>& layers) {
  FieldHash hash("kasane layer stack 1");
  for (const LayerPtr& layer : layers) hash.add(layer->index().summary().content_id);
  return hash.finish();
}

Sha256Digest chain_id(const std::vector<Sha256Digest>& diff_ids) {
  Sha256Digest id;
  for (size_t i = 0; i < diff_ids.size(); ++i)
    id = i == 0 ? diff_ids[0] : sha256(id.str() + " " + diff_ids[i].str());
  return id;
}

}  // namespace kasane::store
