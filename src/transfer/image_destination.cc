#include "transfer/image_destination.h"

#include <algorithm>
#include <set>

#include "transfer/parallel.h"

namespace kasane::transfer {
namespace {

std::string short_id(const std::string& digest) { return digest.substr(digest.find(':') + 1, 12); }

}  // namespace

void CopyLog::tell(const oci::Descriptor& blob, const std::string& text) {
  std::lock_guard lock(mutex_);
  if (events_.status) events_.status(short_id(blob.digest), text);
}

void CopyLog::copied(const oci::Descriptor& blob) {
  tell(blob, "Copied");
  std::lock_guard lock(mutex_);
  ++counts_.copied;
  counts_.bytes += static_cast<uint64_t>(blob.size);
}

void CopyLog::existing(const oci::Descriptor& blob) {
  tell(blob, "Already exists");
  std::lock_guard lock(mutex_);
  ++counts_.existing;
}

void CopyLog::mounted(const oci::Descriptor& blob, const std::string& from) {
  tell(blob, "Mounted from " + from);
  std::lock_guard lock(mutex_);
  ++counts_.mounted;
}

Result<bool> ImageDestination::has(const PlannedName&, const registry::Document&, const std::stop_token&) {
  return false;
}

std::vector<oci::Descriptor> blobs_of(const CopyPlan& plan) {
  std::vector<oci::Descriptor> out;
  std::set<std::string> seen;
  for (const PlannedDocument& planned : plan.documents)
    for (const oci::Descriptor& blob : planned.blobs)
      if (seen.insert(blob.digest).second) out.push_back(blob);
  return out;
}

oci::Descriptor descriptor_of(const registry::Document& document) {
  oci::Descriptor out;
  out.media_type = document.media_type;
  out.digest = document.digest.str();
  out.size = static_cast<int64_t>(document.bytes.size());
  return out;
}

Result<std::unique_ptr<ImageDestination>> open_destination(const Location& location,
                                                           const DestinationOptions& options) {
  if (!location.digest.empty())
    return Error(ErrorKind::kInvalid, "a destination is named by a tag, not by a digest: " + location.text);
  switch (location.transport) {
    case Transport::kRegistry: return open_registry_destination(location, options);
    case Transport::kLayout: return open_layout_destination(location);
    case Transport::kOciArchive:
    case Transport::kDockerArchive: return open_tar_destination(location);
    case Transport::kStore: return open_store_destination(location, options);
  }
  return Error(ErrorKind::kInternal, "unknown transport");
}

}  // namespace kasane::transfer
