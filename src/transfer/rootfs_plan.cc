#include "transfer/rootfs_plan.h"

#include <algorithm>
#include <numeric>
#include <set>
#include <span>

#include "store/rootfs_view.h"
#include "tar/path.h"
#include "transfer/export_internal.h"

namespace kasane::transfer {
namespace {

using tar::EntryType;

// containerd's platforms.FormatAll with BuildKit's replacement.
std::string directory_name(const oci::Platform& platform) {
  std::string name = platform.str();
  std::replace(name.begin(), name.end(), '/', '_');
  return name;
}

std::string join(const std::string& prefix, std::string_view path) {
  return prefix.empty() ? std::string(path) : prefix + "/" + std::string(path);
}

// "provenance.json" → "provenance.linux_amd64.json"
std::string with_platform(const std::string& name, const std::string& platform) {
  if (platform.empty()) return name;
  const size_t dot = name.rfind('.');
  if (dot == std::string::npos) return name + "." + platform;
  return name.substr(0, dot) + "." + platform + name.substr(dot);
}

// Every regular file, by its path in the result.
std::vector<StatementSubject> file_subjects(std::span<const RootfsEntry> entries,
                                            size_t prefix_size) {
  std::map<std::string_view, std::string> digests;  // of first names, for hard links
  std::vector<StatementSubject> subjects;
  for (const RootfsEntry& entry : entries) {
    std::string hex;
    if (entry.type == EntryType::kHardlink) {
      const auto found = digests.find(entry.link_target);
      if (found == digests.end()) continue;  // of a device or the like
      hex = found->second;
    } else if (entry.type == EntryType::kFile && entry.layer) {
      const store::EntryView view = entry.layer->index().at(entry.position);
      hex = (view.size > 0 ? view.content : sha256(std::string_view())).hex();
      digests.emplace(entry.path, hex);
    } else {
      continue;
    }
    subjects.push_back({entry.path.substr(prefix_size), std::move(hex)});
  }
  return subjects;
}

}  // namespace

Result<void> RootfsPlan::add_platform(store::Store& store, const BuiltPlatform& built,
                                      const std::string& prefix) {
  if (!prefix.empty()) {
    RootfsEntry directory;
    directory.path = prefix;
    directory.type = EntryType::kDirectory;
    entries_.push_back(std::move(directory));
  }
  std::vector<store::LayerPtr> layers;
  for (const Sha256Digest& diff_id : built.diff_ids)
    layers.push_back(TRY(store::open_layer(store, diff_id)));
  layers_.insert(layers_.end(), layers.begin(), layers.end());
  // The first name of a file is the file, the others are links to it: the name that the
  // layer has it under may be hidden.
  std::map<std::pair<const store::Layer*, size_t>, size_t> files;
  const store::RootfsView view(std::move(layers));
  return view.walk("", [&](const store::Found& found) -> Result<void> {
    RootfsEntry entry;
    entry.path = join(prefix, found.path);
    entry.type = found.type();
    if (entry.path.size() > tar::kMaxPathBytes)
      return Error(ErrorKind::kLimit, "'" + entry.path + "': the path is too long");
    if (!found.implicit) {
      entry.layer = found.layer;
      entry.position = found.position;
      if (entry.type != EntryType::kDirectory) {
        const auto [first, is_new] =
            files.try_emplace({found.layer, found.position}, entries_.size());
        if (!is_new) {
          entry.type = EntryType::kHardlink;
          entry.link_target = entries_[first->second].path;
        }
      }
    }
    entries_.push_back(std::move(entry));
    return {};
  });
}

Result<void> RootfsPlan::add_attestations(const BuiltPlatform& built, const std::string& prefix,
                                          const std::string& platform_in_name,
                                          const ExportOptions& options, size_t first) {
  if (built.attestations.empty()) return {};
  const std::vector<StatementSubject> subjects =
      file_subjects({entries_.begin() + static_cast<std::ptrdiff_t>(first), entries_.end()},
                    prefix.empty() ? 0 : prefix.size() + 1);
  std::set<std::string> names;
  for (const Attestation& attestation : built.attestations) {
    const std::string name =
        options.attestation_prefix + with_platform(attestation.file_name, platform_in_name);
    if (name.find('/') != std::string::npos || !tar::is_normalised_path(name) || name.empty())
      return Error(ErrorKind::kInvalid, "\"" + name + "\" cannot be the name of a file");
    if (!names.insert(name).second)
      return Error(ErrorKind::kInvalid, "duplicate attestation path name " + name);
    RootfsEntry entry;
    entry.path = join(prefix, name);
    texts_.push_back(in_toto_statement(attestation, subjects));
    entry.text = &texts_.back();
    entries_.push_back(std::move(entry));
  }
  return {};
}

// Sorts what several sources gave. Directories of one path become one (the first's); an
// attestation replaces a file; files of two platforms are a conflict.
Result<void> RootfsPlan::settle(const std::vector<std::string>& owners) {
  std::vector<size_t> order(entries_.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return tar::compare_paths(entries_[a].path, entries_[b].path) < 0;
  });
  std::vector<RootfsEntry> sorted;
  uint32_t last_owner = 0;
  for (size_t i : order) {
    RootfsEntry& entry = entries_[i];
    const bool again = !sorted.empty() && sorted.back().path == entry.path;
    if (again && owner_[i] != last_owner &&
        (entry.type != EntryType::kDirectory || sorted.back().type != EntryType::kDirectory))
      return Error(ErrorKind::kInvalid, "cannot overwrite " + entry.path + " from " +
                                            owners[last_owner] + " with " + owners[owner_[i]] +
                                            " when split option is disabled")
          .hint("leave platform-split out, or let the platforms' results have different names");
    if (again && entry.text) {
      if (sorted.back().type == EntryType::kDirectory)
        return Error(ErrorKind::kInvalid,
                     "the attestation " + entry.path + " is a directory of the result")
            .hint("attestation-prefix= gives it another name");
      sorted.pop_back();
    } else if (again) {
      continue;
    }
    last_owner = owner_[i];
    sorted.push_back(std::move(entry));
  }
  entries_ = std::move(sorted);
  return {};
}

Result<RootfsPlan> RootfsPlan::make(store::Store& store, const std::vector<BuiltPlatform>& built,
                                    const ExportOptions& options) {
  RootfsPlan plan;
  plan.epoch_ = options.epoch;
  const bool several = built.size() > 1 || options.multi_platform;
  const bool split = options.platform_split.value_or(several);
  std::vector<std::string> owners;
  bool mixed = built.size() > 1;
  for (const BuiltPlatform& one : built) {
    const std::string name = directory_name(one.platform);
    const std::string prefix = split ? name : "";
    const size_t first = plan.entries_.size();
    TRY_CONTEXT(plan.add_platform(store, one, prefix), "platform " + one.platform.str());
    TRY(plan.add_attestations(one, prefix, several && !split ? name : "", options, first));
    mixed |= !one.attestations.empty();
    plan.owner_.resize(plan.entries_.size(), static_cast<uint32_t>(owners.size()));
    owners.push_back(one.platform.str());
  }
  if (mixed) TRY(plan.settle(owners));
  plan.owner_.clear();
  return plan;
}

tar::Entry RootfsPlan::header(const RootfsEntry& entry) const {
  tar::Entry out;
  if (entry.layer) {
    out = entry.layer->index().at(entry.position).to_entry();
    if (entry.type == EntryType::kHardlink) {
      out.link_target = entry.link_target;
      out.size = 0;
      out.dev_major = out.dev_minor = 0;
      out.xattrs.clear();
    }
  } else {
    out.mode = entry.type == EntryType::kDirectory ? 0755 : 0600;
    out.size = entry.text ? entry.text->size() : 0;
  }
  out.type = entry.type;
  out.path = entry.path;
  if (epoch_) out.mtime = {*epoch_, 0};
  return out;
}

Result<ByteSource*> RootfsPlan::content(const RootfsEntry& entry) {
  if (entry.text) {
    memory_ = std::make_unique<MemorySource>(*entry.text);
    return memory_.get();
  }
  std::unique_ptr<store::LayerContents>& contents = contents_[entry.layer];
  if (!contents) contents = std::make_unique<store::LayerContents>(*entry.layer);
  return contents->open(entry.position);
}

}  // namespace kasane::transfer
