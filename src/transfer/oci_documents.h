// The documents of a build's result in BuildKit's form (exporter/containerimage/writer.go):
// configurations, manifests with annotations, attestations, the index over all. What a layout
// holds and what a registry gets. Internal to src/transfer.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "oci/manifest.h"
#include "transfer/layer_export.h"
#include "transfer/outputs.h"

namespace kasane::transfer {

class OciDocuments {
 public:
  // `layers`: by DiffID, all that the platforms have. The others are borrowed.
  OciDocuments(const ExportOptions& options, const std::vector<BuiltPlatform>& built,
               std::map<Sha256Digest, OutputBlob> layers);

  // Everything, by the hex of its digest.
  const std::map<std::string, OutputBlob>& blobs() const { return blobs_; }
  // The manifest of the one image, or an index.
  const oci::Descriptor& top() const { return top_; }
  // Manifests that the index names, in its order: images, then attestations. Empty without one.
  const std::vector<oci::Descriptor>& children() const { return children_; }

 private:
  void build();
  oci::Descriptor add_text(std::string text, std::string_view media_type);
  void add_blob(const OutputBlob& blob) { blobs_.emplace(blob.digest.hex(), blob); }
  oci::Descriptor add_manifest(const BuiltPlatform& built);
  oci::Descriptor add_attestations(const BuiltPlatform& built, const oci::Descriptor& image);

  const ExportOptions& options_;
  const std::vector<BuiltPlatform>& built_;
  std::map<Sha256Digest, OutputBlob> layers_;
  std::map<std::string, OutputBlob> blobs_;
  std::vector<oci::Descriptor> children_;
  oci::Descriptor top_;
};

}  // namespace kasane::transfer
