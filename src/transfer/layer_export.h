// The layers of an output in the form that it asks for: compressed bytes in files of a spool
// directory, or found in the store. Internal to src/transfer.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "oci/manifest.h"
#include "store/layer.h"
#include "transfer/export_internal.h"

namespace kasane::transfer {

std::string_view layer_media_type(Compression compression, bool oci_types);
// nullopt for types that are no layer's, and for foreign ones.
std::optional<Compression> compression_of(std::string_view media_type);

// One blob of an output.
struct OutputBlob {
  Sha256Digest digest;
  uint64_t size = 0;
  std::string media_type;
  // Where the bytes are: one of the three.
  std::string text;
  std::string file;        // `owned`: may be renamed away
  store::LayerPtr layer;   // its uncompressed tar
  bool owned = false;

  Result<std::unique_ptr<ByteSource>> open() const;
};

// By DiffID. Each layer once, whatever number of platforms has it; several are compressed
// at once. `spool` is an existing directory for the compressed bytes; they are not synced.
Result<std::map<Sha256Digest, OutputBlob>> make_layer_blobs(const ExportJob& job,
                                                            const std::string& spool);

}  // namespace kasane::transfer
