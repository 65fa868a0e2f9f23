// ImageTree: the root file system of a stage or image as a SourceTree, from indexes alone.
#pragma once

#include "build/source_tree.h"
#include "store/rootfs_view.h"

namespace kasane::build {

class ImageTree : public SourceTree {
 public:
  explicit ImageTree(std::vector<store::LayerPtr> layers) : view_(std::move(layers)) {}
  Result<SourcePtr> lookup(std::string_view path) override;
  Result<std::vector<SourcePtr>> children(std::string_view directory) override;
  Result<std::unique_ptr<ByteSource>> open(const SourceEntry& entry) override;
  Result<Sha256Digest> digest(const SourceEntry& entry) override;
  void learned(const SourceEntry&, const Sha256Digest&) override {}
  std::string why_absent(std::string_view) override { return {}; }
  const store::RootfsView& view() const { return view_; }

 private:
  store::RootfsView view_;
};

// The entry that a RootfsView shows, with `path` as its visible path; hard links become files.
SourceEntry source_entry_of(const store::Found& found);

}  // namespace kasane::build
