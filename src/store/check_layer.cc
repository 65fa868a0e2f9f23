#include "store/check_layer.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

#include "store/check_tree.h"
#include "store/layer_internal.h"
#include "store/store.h"

namespace kasane::store {
namespace {

std::string text_of(const Result<void>& result) {
  return result ? std::string() : result.error().full_message();
}

class LayerExamination {
 public:
  LayerExamination(Store& store, const LayerSummary& recorded, bool deep)
      : store_(store),
        recorded_(recorded),
        deep_(deep),
        directory_(store.path("layers/" + recorded.diff_id.hex())) {}

  LayerHealth run() {
    health_.has_blob = present("/blob");
    health_.has_tree = present("/tree");
    health_.index = text_of(check_index());
    health_.blob = text_of(check_blob());
    if (!index_) return std::move(health_);
    health_.split = text_of(check_split());
    health_.tree = text_of(check_tree_body());
    return std::move(health_);
  }

 private:
  bool present(const char* below) const {
    struct stat st;
    return ::lstat((directory_ + below).c_str(), &st) == 0;
  }

  Result<void> check_index() {
    LayerPtr layer = TRY(open_layer(store_, recorded_.diff_id));
    if (deep_) TRY(LayerIndex::open(directory_ + "/index", true));
    layer_ = layer;
    index_ = &layer->index();
    health_.summary = index_->summary();
    const LayerSummary& found = health_.summary;
    const bool same =
        found.content_id == recorded_.content_id && found.tar_size == recorded_.tar_size &&
        found.content_size == recorded_.content_size &&
        found.entry_count == recorded_.entry_count && found.canonical == recorded_.canonical;
    if (!same) health_.record = "its index and its record disagree";
    return {};
  }

  // Against the layer's name, so that it can be judged without an index as well.
  Result<void> check_blob() {
    if (!health_.has_blob) return {};
    const std::string path = directory_ + "/blob";
    UniqueFd fd = TRY(open_file(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
    struct stat st;
    if (::fstat(fd.get(), &st) != 0) return Error::from_errno(errno, "stat " + path);
    const uint64_t wanted = index_ ? health_.summary.tar_size : recorded_.tar_size;
    if (!S_ISREG(st.st_mode)) return Error(ErrorKind::kCorrupt, "its tar is not a plain file");
    if (index_ && static_cast<uint64_t>(st.st_size) != wanted)
      return Error(ErrorKind::kCorrupt, "its tar has the wrong size");
    if (!deep_) return {};
    FdSource source(fd.get(), path);
    HashingSink hash(nullptr);
    health_.bytes_read += TRY(copy_stream(source, hash));
    if (hash.finish() != recorded_.diff_id)
      return Error(ErrorKind::kCorrupt, "its tar has another digest");
    return {};
  }

  Result<void> check_tree_body() {
    if (!health_.has_tree) return {};
    TRY(check_tree(*layer_, store_.tree_runner()));
    if (!deep_) return {};
    std::unique_ptr<ByteSource> tar = TRY(open_tar_from_tree(*layer_, store_.tree_runner()));
    HashingSink counter(nullptr);
    health_.bytes_read += TRY(copy_stream(*tar, counter));
    return {};
  }

  // Against the tar, for it is needed only when that is gone, and would hide until then. Without
  // the tar it is read with the tree.
  Result<void> check_split() {
    if (health_.summary.canonical) return {};
    if (!present("/split")) return Error(ErrorKind::kCorrupt, "its split file is missing");
    if (!deep_ || !health_.blob_is_sound()) return {};
    return compare_split(*index_, directory_ + "/blob", directory_ + "/split");
  }

  Store& store_;
  const LayerSummary& recorded_;
  const bool deep_;
  const std::string directory_;
  LayerPtr layer_;
  const LayerIndex* index_ = nullptr;  // sound
  LayerHealth health_;
};

}  // namespace

bool LayerHealth::sound() const {
  return record.empty() && index.empty() && blob.empty() && tree.empty() && split.empty() &&
         (has_blob || has_tree);
}

std::string LayerHealth::reason() const {
  std::string out;
  for (const std::string* part : {&index, &record, &blob, &tree, &split})
    if (!part->empty()) out += (out.empty() ? "" : "; ") + *part;
  if (!has_blob && !has_tree && index.empty())
    out += std::string(out.empty() ? "" : "; ") + "neither its tar nor its tree is there";
  return out;
}

LayerHealth examine_layer(Store& store, const LayerSummary& recorded, bool deep) {
  return LayerExamination(store, recorded, deep).run();
}

}  // namespace kasane::store
