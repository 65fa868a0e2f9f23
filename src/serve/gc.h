// Garbage collection of a registry's folder: mark and sweep. Safe beside a running server: it
// holds lock.gc exclusively, so nothing is added or removed meanwhile (reads go on, pushes wait
// for a moment), and what a push in progress may be about to refer to is younger than `grace`.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "base/result.h"

namespace kasane::serve {

struct GcOptions {
  std::string root;
  bool dry_run = false;
  bool untagged = false;  // also manifests that no tag leads to
  // Unused content younger than this stays; none: an hour while a server runs, else nothing.
  std::optional<std::chrono::seconds> grace = {};
  std::chrono::seconds upload_age = std::chrono::hours(7 * 24);  // unfinished uploads
  std::function<void(const std::string&)> on_removed = {};       // "blob sha256:.. (12 bytes)"
};

struct GcReport {
  uint64_t repositories = 0;
  uint64_t manifests = 0;          // that stay
  uint64_t blobs = 0;              // that stay, manifests' bytes included
  uint64_t removed_manifests = 0;
  uint64_t removed_links = 0;      // "this repository has this blob"
  uint64_t removed_blobs = 0;
  uint64_t removed_uploads = 0;
  uint64_t freed_bytes = 0;
  uint64_t kept_for_grace = 0;     // unused, but too young
};

// kCorrupt, with nothing removed, when a manifest cannot be read: what it refers to is unknown.
Result<GcReport> collect_garbage(const GcOptions& options);

}  // namespace kasane::serve
