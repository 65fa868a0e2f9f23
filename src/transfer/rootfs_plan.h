// RootfsPlan: everything that a local or tar output holds, in the order of the canonical tar
// writer: the merged root file systems of the platforms, their directories when they are
// split, and attestation files (reference O01, O02, T04, T06). Internal to src/transfer.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "store/layer_contents.h"
#include "tar/entry.h"
#include "transfer/outputs.h"

namespace kasane::transfer {

struct RootfsEntry {
  std::string path;
  tar::EntryType type = tar::EntryType::kFile;
  std::string link_target;  // kHardlink: an earlier path of the plan
  // Metadata and content; nullptr: a directory that no layer lists, a platform's directory
  // or an attestation.
  const store::Layer* layer = nullptr;
  size_t position = 0;
  const std::string* text = nullptr;  // content of an attestation; the plan keeps it
};

// One thread. `built` must outlive it.
class RootfsPlan {
 public:
  // kInvalid when platforms are not split and have a file in common.
  static Result<RootfsPlan> make(store::Store& store, const std::vector<BuiltPlatform>& built,
                                 const ExportOptions& options);
  const std::vector<RootfsEntry>& entries() const { return entries_; }

  // As the tar has it. With an epoch every time is the epoch, as in BuildKit; else what is
  // made here has time 0.
  tar::Entry header(const RootfsEntry& entry) const;
  // Of a kFile entry; valid until the next call. Entries in order read each layer forwards.
  Result<ByteSource*> content(const RootfsEntry& entry);

 private:
  Result<void> add_platform(store::Store& store, const BuiltPlatform& built,
                            const std::string& prefix);
  // `first`: where the platform's entries begin.
  Result<void> add_attestations(const BuiltPlatform& built, const std::string& prefix,
                                const std::string& platform_in_name,
                                const ExportOptions& options, size_t first);
  Result<void> settle(const std::vector<std::string>& owners);

  std::vector<RootfsEntry> entries_;
  std::vector<uint32_t> owner_;  // number of the platform of each entry, until settle()
  std::vector<store::LayerPtr> layers_;
  std::list<std::string> texts_;  // their addresses outlive moves of the plan
  std::map<const store::Layer*, std::unique_ptr<store::LayerContents>> contents_;
  std::unique_ptr<MemorySource> memory_;
  std::optional<int64_t> epoch_;
};

}  // namespace kasane::transfer
