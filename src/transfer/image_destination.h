// Where a copy writes. Blobs come before the manifests that name them, children before their
// index, names last; a copy that fails leaves no name that was not there before.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/result.h"
#include "registry/repository.h"
#include "transfer/copy_location.h"
#include "transfer/image_source.h"
#include "transfer/parallel.h"

namespace kasane::transfer {

struct PlannedDocument {
  registry::Document document;
  std::vector<oci::Descriptor> blobs;  // of this document itself
};

struct PlannedName {
  std::string tag;    // short: "1.2"; "" = none
  std::string full;   // canonical with tag, "" = not known
  size_t document = 0;
  bool given = false; // the user wrote it behind the destination, or --all-tags did
};

// All that is to be there afterwards. Children before the indexes that name them, each once.
struct CopyPlan {
  std::vector<PlannedDocument> documents;
  std::vector<PlannedName> names;
};

struct CopyEvents {
  std::function<void(const std::string& id, const std::string& status)> status;
};

struct CopyCounts {
  uint64_t copied = 0, mounted = 0, existing = 0;  // blobs
  uint64_t bytes = 0;                              // of the copied ones
};

// Counts and tells. Thread-safe.
class CopyLog {
 public:
  explicit CopyLog(const CopyEvents& events) : events_(events) {}
  void copying(const oci::Descriptor& blob) { tell(blob, "Copying"); }
  void copied(const oci::Descriptor& blob);
  void existing(const oci::Descriptor& blob);
  void mounted(const oci::Descriptor& blob, const std::string& from);
  CopyCounts counts() const { return counts_; }  // when no work runs

 private:
  void tell(const oci::Descriptor& blob, const std::string& text);
  const CopyEvents& events_;
  std::mutex mutex_;
  CopyCounts counts_;
};

class ImageDestination {
 public:
  virtual ~ImageDestination() = default;
  // An archive is written in one go: then the plan has everything of --all-tags.
  virtual bool one_go() const { return false; }
  // The name means that document already, all of it is there: nothing to do.
  virtual Result<bool> has(const PlannedName& name, const registry::Document& top, const std::stop_token& stop);
  virtual Result<void> write(const CopyPlan& plan, ImageSource& source, CopyLog& log, const std::stop_token& stop) = 0;
};

struct DestinationOptions {
  const registry::Surroundings& around;
  store::Store* store = nullptr;  // for kStore
};
Result<std::unique_ptr<ImageDestination>> open_destination(const Location& location, const DestinationOptions& options);

// The kinds, one file each.
Result<std::unique_ptr<ImageDestination>> open_registry_destination(const Location& location,
                                                                    const DestinationOptions& options);
Result<std::unique_ptr<ImageDestination>> open_layout_destination(const Location& location);
Result<std::unique_ptr<ImageDestination>> open_tar_destination(const Location& location);
Result<std::unique_ptr<ImageDestination>> open_store_destination(const Location& location,
                                                                 const DestinationOptions& options);

// The blobs of all documents, each once.
std::vector<oci::Descriptor> blobs_of(const CopyPlan& plan);

// What a document is called in a descriptor.
oci::Descriptor descriptor_of(const registry::Document& document);

}  // namespace kasane::transfer
