#include <unistd.h>

#include <algorithm>

#include "serve/storage.h"
#include "serve/upload_state.h"

namespace kasane::serve {
namespace {

// Writes unless the file has this content already, which is then durable too.
Result<void> publish_if_new(const Layout& layout, const std::string& path,
                            std::string_view content) {
  auto now = TRY(read_if_there(path, kMaxManifest));
  if (now && *now == content) return {};
  return publish(layout, path, content);
}

}  // namespace

Result<Storage::PutResult> Storage::check_references(const std::string& name,
                                                     const ManifestDocument& document) {
  for (const ManifestReference& reference : document.references) {
    if (reference.may_be_absent) continue;
    auto digest = ContentDigest::parse(reference.digest);
    std::optional<uint64_t> size;
    if (digest && reference.is_manifest)
      if (auto manifest = TRY(find_manifest(name, *digest))) size = manifest->size;
    // An index may also list what was pushed as a blob.
    if (digest && !size)
      if (auto blob = TRY(find_blob(name, *digest))) size = blob->size;
    if (!size) return PutResult{.missing = reference.digest, .wrong_size = {}, .refused_tag = {}};
    if (*size != reference.size)
      return PutResult{.missing = {}, .wrong_size = reference.digest, .refused_tag = {}};
  }
  return PutResult{};
}

Result<Storage::PutResult> Storage::put_manifest(const std::string& name,
                                                 const ContentDigest& digest,
                                                 std::string_view bytes,
                                                 const ManifestDocument& document,
                                                 const std::vector<std::string>& tags,
                                                 const TagRule& allow) {
  UniqueFd held = TRY(hold());
  std::lock_guard lock(repository_mutex(name));
  PutResult result = TRY(check_references(name, document));
  if (!result.missing.empty() || !result.wrong_size.empty()) return result;
  for (const std::string& tag : tags) {
    auto now = TRY(find_tag(name, tag));
    if (now == digest) continue;
    if (!allow(tag, now ? &*now : nullptr)) {
      result.refused_tag = tag;
      return result;
    }
  }
  // What is pointed at comes first: content, then the entry in the subject's list (which counts
  // only once the manifest is there), then the manifest, then its names.
  TRY(publish_if_new(layout_, layout_.blob(digest), bytes));
  if (document.subject)
    TRY(publish_if_new(layout_, layout_.referrer(name, *document.subject, digest),
                       document.referrer_descriptor(digest, bytes.size())));
  TRY(publish_if_new(layout_, layout_.manifest(name, digest),
                     manifest_marker({digest, document.media_type, bytes.size()})));
  for (const std::string& tag : tags)
    TRY(publish_if_new(layout_, layout_.tag(name, tag), digest.str() + "\n"));
  return result;
}

Result<Storage::Removal> Storage::remove_tag(const std::string& name, const std::string& tag,
                                             const TagRule& allow) {
  UniqueFd held = TRY(hold());
  std::lock_guard lock(repository_mutex(name));
  auto now = TRY(find_tag(name, tag));
  if (now && !allow(tag, &*now)) return Removal::kRefused;
  return TRY(remove_durably(layout_.tag(name, tag))) ? Removal::kDone : Removal::kNotFound;
}

Result<Storage::Removal> Storage::remove_manifest(const std::string& name,
                                                  const ContentDigest& digest,
                                                  const TagRule& allow) {
  UniqueFd held = TRY(hold());
  std::lock_guard lock(repository_mutex(name));
  auto info = TRY(find_manifest(name, digest));
  if (!info && !TRY(exists(layout_.manifest(name, digest)))) return Removal::kNotFound;
  std::vector<std::string> pointing;
  for (const std::string& tag : TRY(this->tags(name))) {
    auto target = TRY(find_tag(name, tag));
    if (target != digest) continue;
    if (!allow(tag, &*target)) return Removal::kRefused;
    pointing.push_back(tag);
  }
  for (const std::string& tag : pointing) TRY(remove_durably(layout_.tag(name, tag)));
  std::optional<ManifestDocument> document;
  if (info)
    if (auto bytes = read_file(layout_.blob(digest), kMaxManifest))
      if (auto parsed = ManifestDocument::parse(*bytes, info->media_type))
        document = std::move(*parsed);
  TRY(remove_durably(layout_.manifest(name, digest)));
  // Left behind by a crash here, the entry is skipped by lists and swept by gc.
  if (document && document->subject)
    TRY(remove_durably(layout_.referrer(name, *document->subject, digest)));
  return Removal::kDone;
}

Result<bool> Storage::has_repository(const std::string& name) {
  return exists(layout_.repository(name) + "/_manifests");
}

Result<std::vector<std::string>> Storage::tags(const std::string& name) {
  return list_directory(layout_.tags(name));
}

Result<std::vector<Storage::Referrer>> Storage::referrers(const std::string& name,
                                                          const ContentDigest& subject) {
  const std::string folder = layout_.referrers(name, subject);
  std::vector<Referrer> out;
  for (const std::string& key : TRY(list_directory(folder))) {
    std::string text = key;
    std::replace(text.begin(), text.end(), '-', ':');
    auto digest = ContentDigest::parse(text);
    if (!digest || !TRY(find_manifest(name, *digest))) continue;
    if (auto descriptor = TRY(read_if_there(folder + "/" + key, kMaxManifest)))
      out.push_back({key, std::move(*descriptor)});
  }
  return out;
}

namespace {

Result<void> walk_repositories(const std::string& folder, const std::string& prefix,
                               std::vector<std::string>& out) {
  bool is_repository = false;
  std::vector<std::string> children;
  for (std::string& name : TRY(list_directory(folder))) {
    if (name.starts_with('_'))
      is_repository = true;
    else
      children.push_back(std::move(name));
  }
  if (is_repository && !prefix.empty()) out.push_back(prefix);
  for (const std::string& child : children)
    TRY(walk_repositories(folder + "/" + child, prefix.empty() ? child : prefix + "/" + child,
                          out));
  return {};
}

}  // namespace

Result<std::vector<std::string>> find_repositories(const Layout& layout) {
  std::vector<std::string> out;
  TRY(walk_repositories(layout.repositories(), "", out));
  std::sort(out.begin(), out.end());
  return out;
}

Result<std::vector<std::string>> Storage::repositories() {
  std::vector<std::string> all = TRY(find_repositories(layout_));
  std::vector<std::string> out;
  for (std::string& name : all)
    if (TRY(has_repository(name))) out.push_back(std::move(name));
  return out;
}

}  // namespace kasane::serve
