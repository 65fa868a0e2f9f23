// Where a registry keeps what, below its root, and the one way in which files get there:
// temporary file → fsync → rename → fsync of the directory (reliability rule 2.2.1).
//
//   blobs/<algorithm>/<first two digits>/<hex>        content, shared by all repositories
//   repos/<name>/_blobs/<algorithm>/<hex>             "this repository has it": the size
//   repos/<name>/_manifests/<algorithm>/<hex>         the same for a manifest: type and size
//   repos/<name>/_tags/<tag>                          a digest
//   repos/<name>/_referrers/<alg>/<hex>/<alg>-<hex>   subject / referrer: its descriptor
//   repos/<name>/_uploads/<id>                        bytes received so far
//   tmp/        unfinished small files        lock.*     see storage.h
//
// No part of a repository's name can start with '_', so names and these folders never meet. A
// writer puts what is pointed at in place before what points: whatever moment a process dies at,
// all that can be reached is whole.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "serve/digest.h"

namespace kasane::serve {

// Paths only. Names must have been checked (oci::is_repository_name, is_tag_name).
class Layout {
 public:
  explicit Layout(std::string root) : root_(std::move(root)) {}

  const std::string& root() const { return root_; }
  std::string blobs() const { return root_ + "/blobs"; }
  std::string repositories() const { return root_ + "/repos"; }
  std::string temporary() const { return root_ + "/tmp"; }
  std::string serve_lock() const { return root_ + "/lock.serve"; }
  std::string gc_lock() const { return root_ + "/lock.gc"; }
  std::string gate_lock() const { return root_ + "/lock.gate"; }

  std::string blob(const ContentDigest& digest) const;
  std::string repository(std::string_view name) const { return repositories() + "/" + std::string(name); }
  std::string blob_link(std::string_view name, const ContentDigest& digest) const;
  std::string manifest(std::string_view name, const ContentDigest& digest) const;
  std::string tags(std::string_view name) const { return repository(name) + "/_tags"; }
  std::string tag(std::string_view name, std::string_view tag) const { return tags(name) + "/" + std::string(tag); }
  std::string referrers(std::string_view name, const ContentDigest& subject) const;
  std::string referrer(std::string_view name, const ContentDigest& subject,
                       const ContentDigest& digest) const;
  std::string uploads(std::string_view name) const { return repository(name) + "/_uploads"; }
  std::string upload(std::string_view name, std::string_view id) const { return uploads(name) + "/" + std::string(id); }

 private:
  std::string root_;
};

// mkdir -p that survives a power cut.
Result<void> ensure_directory(const std::string& path);
// Puts a small file in place, over an existing one. The directory is made.
Result<void> publish(const Layout& layout, const std::string& path, std::string_view content);
// Moves a written file into place, over an existing one. The directory is made. `fd` is it.
Result<void> publish_written(int fd, const std::string& from, const std::string& to);
// unlink and fsync of the directory. False when it was not there.
Result<bool> remove_durably(const std::string& path);
// False when there is no such file; other failures are errors.
Result<bool> exists(const std::string& path);

}  // namespace kasane::serve
