#include "store/remote_layer.h"

#include <fcntl.h>

#include <algorithm>
#include <mutex>
#include <optional>

#include "base/thread_pool.h"
#include "store/store.h"
#include "tar/path.h"
#include "tar/whiteout.h"

namespace kasane::store {
namespace {

Error false_claim(std::string what) {
  return Error(ErrorKind::kCorrupt, "the index of a layer is no index: " + std::move(what));
}

// What the importer guarantees of the entries that it lets in.
Result<void> check_entry(const EntryView& entry) {
  if (!tar::is_normalised_path(entry.path)) return false_claim("a path that no layer may have");
  const std::string path(entry.path);
  if (entry.link_target.size() > tar::kMaxPathBytes || entry.link_target.find('\0') != std::string_view::npos)
    return false_claim("the link target of '" + path + "'");
  const bool link = entry.type == tar::EntryType::kSymlink || entry.type == tar::EntryType::kHardlink;
  if (link == entry.link_target.empty()) return false_claim("the link target of '" + path + "'");
  if (entry.type != tar::EntryType::kFile && !link && entry.size != 0) return false_claim("the size of '" + path + "'");
  for (const tar::Xattr& xattr : entry.xattrs)
    if (tar::is_overlay_xattr(xattr.name) || xattr.name.empty())
      return false_claim("an extended attribute of '" + path + "'");
  return {};
}

IndexedEntry indexed(const EntryView& view) {
  IndexedEntry out;
  out.entry = view.to_entry();
  out.content = view.content;
  out.header_offset = view.header_offset;
  out.data_offset = view.data_offset;
  out.raw_size = view.raw_size;
  out.sparse = view.sparse;
  return out;
}

bool equal(const EntryView& a, const EntryView& b) {
  const auto same_xattrs = [&] {
    return std::equal(a.xattrs.begin(), a.xattrs.end(), b.xattrs.begin(), b.xattrs.end(),
                      [](const tar::Xattr& x, const tar::Xattr& y) { return x.name == y.name && x.value == y.value; });
  };
  return a.type == b.type && a.path == b.path && a.link_target == b.link_target && a.mode == b.mode &&
         a.uid == b.uid && a.gid == b.gid && a.size == b.size && a.mtime.sec == b.mtime.sec &&
         a.mtime.nsec == b.mtime.nsec && a.dev_major == b.dev_major && a.dev_minor == b.dev_minor &&
         a.content == b.content && a.header_offset == b.header_offset && a.data_offset == b.data_offset &&
         a.raw_size == b.raw_size && a.sparse == b.sparse && same_xattrs();
}

}  // namespace

Result<std::string> index_bytes(const Layer& layer) {
  return read_file(layer.directory() + "/index", kMaxClaimedIndexBytes);
}

Result<std::shared_ptr<const LayerIndex>> claimed_index(Store& store, std::string_view bytes,
                                                        const Sha256Digest& diff_id) {
  Store::Ingest ingest = TRY(store.new_ingest());
  const std::string claim = ingest.path() + "/claim", path = ingest.path() + "/index";
  UniqueFd fd = TRY(open_file(claim, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  TRY(write_all(fd.get(), bytes, claim));
  const std::shared_ptr<const LayerIndex> given = TRY(LayerIndex::open(claim, true));
  if (given->summary().diff_id != diff_id) return false_claim("it is that of another layer");
  LayerIndexBuilder builder;
  for (size_t i = 0; i < given->size(); ++i) {
    const EntryView entry = given->at(i);
    TRY(check_entry(entry));
    builder.add(indexed(entry));
  }
  const LayerSummary& told = given->summary();
  const LayerSummary made = TRY(builder.write(path, diff_id, told.tar_size, told.canonical, false));
  if (builder.had_duplicates() || made.content_id != told.content_id || made.content_size != told.content_size ||
      made.canonical != told.canonical)
    return false_claim("its summary is not that of its entries");
  return LayerIndex::open(path);  // the mapping outlives the file
}

Result<void> check_same_entries(const LayerIndex& claimed, const LayerIndex& true_index) {
  const LayerSummary &a = claimed.summary(), &b = true_index.summary();
  const auto differs = [](const std::string& what) {
    return Error(ErrorKind::kCorrupt, "the layer is not the one that was described: " + what);
  };
  if (a.diff_id != b.diff_id || a.content_id != b.content_id || a.tar_size != b.tar_size ||
      a.canonical != b.canonical || claimed.size() != true_index.size())
    return differs("its summary is another one");
  for (size_t i = 0; i < claimed.size(); ++i)
    if (!equal(claimed.at(i), true_index.at(i)) || claimed.tar_order(i) != true_index.tar_order(i))
      return differs("'" + std::string(true_index.path_at(i)) + "' is another one");
  return {};
}

LayerPtr remote_layer(Store& store, std::shared_ptr<const LayerIndex> index, Layer::Fetch fetch) {
  std::string directory = store.path("layers/" + index->summary().diff_id.hex());
  return std::make_shared<Layer>(std::move(directory), std::move(index), store.tree_runner(), std::move(fetch));
}

Result<void> bring_layers(const std::vector<LayerPtr>& layers, unsigned at_once) {
  std::vector<LayerPtr> wanted;
  for (const LayerPtr& layer : layers)
    if (layer->is_claimed()) wanted.push_back(layer);
  if (wanted.size() < 2) return wanted.empty() ? Result<void>() : wanted.front()->bring();
  std::mutex mutex;
  std::optional<Error> failure;
  {
    ThreadPool pool(std::min<unsigned>(std::max(1u, at_once), static_cast<unsigned>(wanted.size())));
    for (const LayerPtr& layer : wanted)
      pool.submit([&, layer] {
        Result<void> brought = layer->bring();
        std::lock_guard lock(mutex);
        if (!brought && !failure) failure = std::move(brought.error());
      });
  }
  if (failure) return std::move(*failure);
  return {};
}

}  // namespace kasane::store
