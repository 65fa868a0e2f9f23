// Export and import of a cache mount's content.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <map>

#include "store/cache_mounts_internal.h"
#include "store/layer_internal.h"
#include "store/store.h"
#include "store/store_internal.h"
#include "store/upper_scan.h"
#include "tar/path.h"
#include "tar/whiteout.h"

namespace kasane::store {
namespace {

constexpr size_t kBufferSize = 256 * 1024;

class Exporter {
 public:
  Exporter(UniqueFd root, ByteSink& out)
      : root_(std::move(root)), writer_(out), buffer_(new uint8_t[kBufferSize]) {}

  Result<void> run() {
    TRY(write_root());
    std::vector<UpperNode> nodes = TRY(scan_plain(root_.get()));
    link_files(nodes);
    for (const UpperNode& node : nodes)
      if (node.kind != UpperKind::kSocket)
        TRY_CONTEXT(write_node(node), "export '" + node.entry.path + "'");
    return writer_.finish();
  }

 private:
  Result<void> write_root() {
    struct stat st;
    if (::fstat(root_.get(), &st) != 0) return Error::from_errno(errno, "stat");
    UpperNode root;
    set_metadata(st, root);
    root.entry.type = tar::EntryType::kDirectory;
    TRY(writer_.begin(root.entry));
    return writer_.finish_member();
  }

  // The first path of an inode is the file, the others are links to it.
  static void link_files(std::vector<UpperNode>& nodes) {
    std::map<std::pair<dev_t, ino_t>, std::string> first;
    for (UpperNode& node : nodes) {
      if (node.links < 2 || node.entry.type == tar::EntryType::kDirectory) continue;
      const auto [known, inserted] = first.try_emplace({node.device, node.inode}, node.entry.path);
      if (inserted) continue;
      node.entry.type = tar::EntryType::kHardlink;
      node.entry.link_target = known->second;
      node.entry.size = 0;
      node.entry.dev_major = node.entry.dev_minor = 0;
      node.entry.xattrs.clear();
    }
  }

  Result<void> write_node(const UpperNode& node) {
    if (node.entry.type == tar::EntryType::kFile) return write_file(node);
    TRY(writer_.begin(node.entry));
    return writer_.finish_member();
  }

  Result<void> write_file(const UpperNode& node) {
    UniqueFd fd = TRY(open_in_tree(root_.get(), node.entry.path, O_RDONLY | O_NONBLOCK | O_NOCTTY));
    struct stat st;
    if (::fstat(fd.get(), &st) != 0) return Error::from_errno(errno, "stat");
    if (!S_ISREG(st.st_mode) || st.st_ino != node.inode) return changed();
    tar::Entry entry = node.entry;
    entry.xattrs = TRY(read_xattrs(fd.get(), nullptr));
    std::erase_if(entry.xattrs,
                  [](const tar::Xattr& xattr) { return tar::is_overlay_xattr(xattr.name); });
    TRY(writer_.begin(entry));
    for (uint64_t left = entry.size; left > 0;) {
      const size_t want = static_cast<size_t>(std::min<uint64_t>(left, kBufferSize));
      const size_t n = TRY(read_some(fd.get(), {buffer_.get(), want}, entry.path));
      if (n == 0) return changed();
      TRY(writer_.write({buffer_.get(), n}));
      left -= n;
    }
    return writer_.finish_member();
  }

  static Error changed() {
    return Error(ErrorKind::kConflict, "it was changed while it was read")
        .hint("wait for the builds that use this cache, then try again");
  }

  UniqueFd root_;
  tar::Writer writer_;
  std::unique_ptr<uint8_t[]> buffer_;
};

// In overlayfs's form these would be deletions, which mean nothing here.
Result<void> refuse_whiteouts(const LayerIndex& index) {
  if (!index.has_whiteouts()) return {};
  for (size_t i = 0; i < index.size(); ++i)
    if (tar::base_name(index.path_at(i)).starts_with(tar::kWhiteoutPrefix))
      return Error(ErrorKind::kUnsupported,
                   "the archive holds '" + std::string(index.path_at(i)) +
                       "', but names that begin with '.wh.' mean deletions in a layer");
  return {};
}

// The tar as a directory, in `ingest`. Nothing of a refused tar gets further than that.
Result<std::string> unpack(Store& store, const std::string& ingest,
                           const CacheMountRequest& request, ByteSource& tar) {
  const std::string layer = ingest + "/layer", data = ingest + "/data";
  TRY(make_directories(layer, 0700));
  TRY(import_tar(layer, tar, {}));
  std::shared_ptr<const LayerIndex> index = TRY(LayerIndex::open(layer + "/index"));
  TRY(refuse_whiteouts(*index));
  TRY(run_with_report(store.tree_runner(),
                      [&] { return unpack_tree(*index, layer + "/blob", data); }));
  if (!index->find("")) TRY(set_cache_owner(store, data, request));
  return data;
}

}  // namespace

Result<void> export_cache_mount(Store& store, const CacheMountInfo& mount, ByteSink& out) {
  const std::string directory = store.path("mounts/" + mount.key);
  std::optional<FileLock> lock;
  if (!mount.sharing.empty()) {
    lock = TRY(FileLock::try_lock(directory + "/lock", FileLock::Mode::kShared));
    if (!lock)
      return Error(ErrorKind::kConflict, "the cache mount \"" + mount.id + "\" is in use")
          .hint("wait for the build that has it alone, then try again");
  }
  const std::string data = mount.sharing.empty() ? directory : directory + "/data";
  std::unique_ptr<ByteSource> source =
      TRY(piped_source(store.tree_runner(), [data](ByteSink& sink) -> Result<void> {
        UniqueFd root = TRY(open_file(data, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
        return Exporter(std::move(root), sink).run();
      }));
  TRY_CONTEXT(copy_stream(*source, out), "export the cache mount \"" + mount.id + "\"");
  return {};
}

Result<void> import_cache_mount(Store& store, const CacheMountRequest& request, ByteSource& tar) {
  Store::Ingest ingest = TRY(store.new_ingest());
  auto work = [&]() -> Result<void> {
    const std::string fresh = TRY(unpack(store, ingest.path(), request, tar));
    // Makes the directory and its meta.json; the lock must not be waited for, because the
    // user would not know why.
    const std::string directory = store.path("mounts/" + cache_mount_key(request));
    std::optional<FileLock> lock = TRY(try_lock_cache(directory, FileLock::Mode::kExclusive));
    if (!lock)
      return Error(ErrorKind::kConflict, "it is in use")
          .hint("wait for the builds that use this cache, then try again");
    TRY(replace_cache_data(store, directory, fresh, ingest.path() + "/old"));
    CacheMountInfo info;
    if (auto known = read_cache_meta(directory)) info = std::move(*known);
    info.id = request.id;
    info.namespace_ = request.namespace_;
    info.base_digest = request.base_digest;
    info.mode = request.mode;
    info.uid = request.uid;
    info.gid = request.gid;
    if (info.created_ns == 0) info.created_ns = now_ns();
    if (info.sharing.empty()) info.sharing = sharing_name(request.sharing);
    if (!request.base_digest.empty())
      TRY(open_file(directory + "/seeded", O_WRONLY | O_CREAT | O_NOFOLLOW, 0600));
    return write_cache_meta(directory, info);
  };
  TRY_CONTEXT(work(), "import the cache mount \"" + request.id + "\"");
  return {};
}

}  // namespace kasane::store
