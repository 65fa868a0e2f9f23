#include "build/layer_plan.h"

#include <deque>
#include <map>
#include <utility>

#include "build/image_tree.h"

namespace kasane::build {
namespace {

constexpr int kMaxLinks = 255;

tar::Entry entry_below(const store::Found& found) { return source_entry_of(found).entry; }

std::deque<std::string> components(std::string_view path) {
  std::deque<std::string> parts;
  for (size_t begin = 0; begin < path.size();) {
    size_t end = std::min(path.find('/', begin), path.size());
    if (end > begin) parts.emplace_back(path.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

}  // namespace

std::optional<LayerPlan::Seen> LayerPlan::lookup(std::string_view path) const {
  if (auto it = entries_.find(path); it != entries_.end()) return Seen{it->second.entry, true};
  // A planned non-directory on the way hides what lies below it.
  for (std::string_view up = parent_path(path); !up.empty(); up = parent_path(up)) {
    auto it = entries_.find(up);
    if (it != entries_.end() && it->second.entry.type != tar::EntryType::kDirectory)
      return std::nullopt;
  }
  if (std::optional<store::Found> found = below_.lookup(path)) return Seen{entry_below(*found), false};
  if (path.empty()) {
    tar::Entry root;
    root.type = tar::EntryType::kDirectory;
    root.mode = 0755;
    return Seen{root, false};
  }
  return std::nullopt;
}

Result<std::string> LayerPlan::resolve(std::string_view path) const {
  std::deque<std::string> pending = components(path);
  std::string real;
  int links = 0;
  while (!pending.empty()) {
    std::string part = std::move(pending.front());
    pending.pop_front();
    if (part == ".") continue;
    if (part == "..") {
      real = std::string(parent_path(real));
      continue;
    }
    std::string next = join_path(real, part);
    std::optional<Seen> seen = lookup(next);
    if (!seen || seen->entry.type != tar::EntryType::kSymlink) {
      real = std::move(next);
      continue;
    }
    if (++links > kMaxLinks)
      return Error(ErrorKind::kInvalid,
                   "too many levels of symbolic links in /" + std::string(path));
    if (seen->entry.link_target.starts_with('/')) real.clear();
    std::deque<std::string> more = components(seen->entry.link_target);
    pending.insert(pending.begin(), more.begin(), more.end());
  }
  return real;
}

void LayerPlan::put_parents(std::string_view path) {
  for (std::string_view up = parent_path(path); !up.empty(); up = parent_path(up)) {
    if (entries_.find(up) != entries_.end()) return;  // its parents were listed with it
    std::optional<store::Found> found = below_.lookup(up);
    PlannedEntry parent;
    if (found) parent.entry = entry_below(*found);
    parent.entry.type = tar::EntryType::kDirectory;
    if (!found) parent.entry.mode = 0755;
    parent.entry.path = std::string(up);
    parent.from_below = true;
    entries_.emplace(parent.entry.path, std::move(parent));
  }
}

void LayerPlan::put(PlannedEntry entry) {
  put_parents(entry.entry.path);
  std::string path = entry.entry.path;
  entries_[std::move(path)] = std::move(entry);
}

void LayerPlan::erase_below(std::string_view path) {
  std::string prefix = std::string(path) + '/';
  auto it = entries_.upper_bound(path);
  while (it != entries_.end() && it->first.starts_with(prefix)) it = entries_.erase(it);
}

Result<void> LayerPlan::make_directories(std::string_view path, const tar::Entry& like) {
  std::string at;
  for (const std::string& part : components(path)) {
    at = join_path(at, part);
    std::optional<Seen> seen = lookup(at);
    if (seen) {
      if (seen->entry.type != tar::EntryType::kDirectory)
        return Error(ErrorKind::kInvalid, "cannot create directory /" + std::string(path) + ": /" +
                                              at + " exists and is not a directory");
      continue;
    }
    PlannedEntry directory;
    directory.entry = like;
    directory.entry.type = tar::EntryType::kDirectory;
    directory.entry.path = at;
    directory.entry.size = 0;
    put(std::move(directory));
  }
  return {};
}

void link_groups(LayerPlan& plan) {
  std::map<uint64_t, std::string> first_of;
  for (auto& [path, planned] : plan.entries()) {
    if (planned.link_group == 0) continue;
    auto [it, is_first] = first_of.emplace(planned.link_group, path);
    if (is_first) continue;
    planned.entry.type = tar::EntryType::kHardlink;
    planned.entry.link_target = it->second;
    planned.entry.size = 0;
  }
}

void clamp_times(LayerPlan& plan, int64_t epoch) {
  for (auto& [path, planned] : plan.entries())
    if (planned.entry.mtime.sec >= epoch) planned.entry.mtime = {epoch, 0};
}

namespace {

void hash_entry(FieldHash& hash, const tar::Entry& entry, const Sha256Digest& content) {
  hash.add(entry.path).add(static_cast<uint64_t>(entry.type)).add(uint64_t{entry.mode});
  hash.add(uint64_t{entry.uid} << 32 | entry.gid).add(entry.size).add(entry.link_target);
  hash.add(uint64_t{entry.dev_major} << 32 | entry.dev_minor).add(content);
  hash.add(uint64_t{entry.xattrs.size()});
  for (const tar::Xattr& xattr : entry.xattrs) hash.add(xattr.name).add(xattr.value);
}

}  // namespace

namespace {

Result<Sha256Digest> content_digest(PlannedEntry& planned) {
  if (planned.inline_content) return sha256(*planned.inline_content);
  if (!planned.tree || planned.entry.type != tar::EntryType::kFile) return Sha256Digest{};
  if (!planned.content) planned.content = TRY(planned.tree->digest(*planned.source));
  return *planned.content;
}

}  // namespace

Result<Sha256Digest> plan_digest(LayerPlan& plan) {
  FieldHash hash("kasane.layer-plan.1");
  for (auto& [path, planned] : plan.entries())
    hash_entry(hash, planned.entry, TRY(content_digest(planned)));
  return hash.finish();
}

Result<std::vector<std::pair<std::string, Sha256Digest>>> entry_digests(LayerPlan& plan) {
  std::vector<std::pair<std::string, Sha256Digest>> digests;
  for (auto& [path, planned] : plan.entries()) {
    FieldHash hash("kasane.layer-plan.1");
    hash_entry(hash, planned.entry, TRY(content_digest(planned)));
    digests.emplace_back(path, hash.finish());
  }
  return digests;
}

bool mostly_unread(const LayerPlan& plan) {
  uint64_t known = 0, unknown = 0;
  for (const auto& [path, planned] : plan.entries())
    if (planned.tree && planned.entry.type == tar::EntryType::kFile)
      (planned.content ? known : unknown) += planned.entry.size;
  return unknown > (1u << 20) && unknown > known;
}

Result<void> write_plan(LayerPlan& plan, store::LayerWriter& writer,
                        const std::function<bool()>& cancelled) {
  for (auto& [path, planned] : plan.entries()) {
    if (cancelled()) return Error(ErrorKind::kCancelled, "the build was cancelled");
    if (planned.inline_content) {
      MemorySource content(*planned.inline_content);
      TRY(writer.add_file(planned.entry, content));
    } else if (planned.tree && planned.entry.type == tar::EntryType::kFile && planned.entry.size > 0) {
      std::unique_ptr<ByteSource> content = TRY(planned.tree->open(*planned.source));
      bool known = planned.content.has_value();
      Sha256Digest digest = TRY_CONTEXT(
          writer.add_file(planned.entry, *content, known ? &*planned.content : nullptr),
          "copy " + planned.source->entry.path);
      if (!known) {
        planned.content = digest;
        planned.tree->learned(*planned.source, digest);
      }
    } else {
      TRY(writer.add(planned.entry));
    }
  }
  return {};
}

}  // namespace kasane::build
