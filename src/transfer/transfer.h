// save, load and import: images between the store and archives. Everything streams; a
// layer is verified and indexed in the pass that reads it.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/events.h"
#include "base/stream.h"
#include "oci/image_config.h"
#include "oci/platform.h"
#include "store/store.h"

namespace kasane::transfer {

struct SaveItem {
  Sha256Digest image;
  std::vector<std::string> references;  // canonical with tag; may be empty (saved by id)
};
// The archive is a docker-archive and an OCI layout at once, as docker ≥ 25 writes it
// (reference 3.2); deterministic: same images and names → same bytes.
Result<void> save(store::Store& store, const std::vector<SaveItem>& items, ByteSink& out);

struct LoadedImage {
  Sha256Digest image;
  std::vector<std::string> tags;  // canonical, in archive order; empty: loaded by id only
  struct Replaced { std::string tag; Sha256Digest old_image; };
  std::vector<Replaced> replaced; // tags that moved away from another image
};
// docker-archive, OCI layout in a tar, or (path is a directory) an OCI layout; the
// archive and each layer may be gzip, zstd, xz or bzip2 compressed.
Result<std::vector<LoadedImage>> load(store::Store& store, ByteSource& archive, EventBus& events);
Result<std::vector<LoadedImage>> load_directory(store::Store& store, const std::string& path,
                                                EventBus& events);

// One image of an OCI layout directory, without a tag: `location` is "DIR", "DIR:TAG" or
// "DIR@DIGEST". For `platform` when an index offers it. kNotFound, kInvalid.
Result<Sha256Digest> load_layout_image(store::Store& store, const std::string& location,
                                       const oci::Platform& platform, EventBus& events);

struct ImportImage {
  oci::ImageConfig config;   // platform, config, created; rootfs and history are filled in
  std::string message;       // history comment
  std::string reference;     // canonical with tag, or ""
};
// One layer from a root file system tar (compressed or not). Returns the image id.
Result<Sha256Digest> import_rootfs(store::Store& store, ByteSource& tar, ImportImage image);

// What `name[:tag]`, `name@digest`, id or unique id prefix means in this store (docker's
// lookup order: digest, name with default tag, id prefix). kNotFound: "No such image: X".
Result<Sha256Digest> find_image(store::Store& store, std::string_view text);

}  // namespace kasane::transfer
