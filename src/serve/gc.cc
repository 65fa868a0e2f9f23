#include "serve/gc.h"

#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <map>
#include <set>

#include "serve/storage.h"

namespace kasane::serve {
namespace {

constexpr auto kGraceBesideServer = std::chrono::hours(1);

// What one repository holds and needs.
struct Repository {
  std::string name;
  std::map<ContentDigest, ManifestDocument> manifests;
  std::set<ContentDigest> dropped;  // manifests that go (untagged)
};

struct FileFacts {
  uint64_t size = 0;
  int64_t age = 0;  // seconds
};

// Digests that the files of <folder>/<algorithm>/[<xx>/]<hex> are named by, with their paths.
Result<std::vector<std::pair<ContentDigest, std::string>>> digests_below(const std::string& folder,
                                                                         bool fanned) {
  std::vector<std::pair<ContentDigest, std::string>> out;
  for (const char* algorithm : {"sha256", "sha512"}) {
    std::vector<std::string> folders{folder + "/" + algorithm};
    if (fanned) {
      std::vector<std::string> fans;
      for (const std::string& fan : TRY(list_directory(folders[0]))) fans.push_back(folders[0] + "/" + fan);
      folders = std::move(fans);
    }
    for (const std::string& inner : folders)
      for (const std::string& hex : TRY(list_directory(inner)))
        if (auto digest = ContentDigest::parse(std::string(algorithm) + ":" + hex))
          out.emplace_back(std::move(*digest), inner + "/" + hex);
  }
  return out;
}

class Collector {
 public:
  explicit Collector(const GcOptions& options) : options_(options), layout_(options.root) {}

  Result<GcReport> run() {
    if (!TRY(exists(layout_.serve_lock())))
      return Error(ErrorKind::kNotFound, "there is no registry in " + layout_.root());
    // A server that starts now waits for lock.gc before it does anything.
    auto server = TRY(try_lock_file(layout_.serve_lock()));
    grace_ = options_.grace.value_or(server ? std::chrono::seconds(0)
                                            : std::chrono::seconds(kGraceBesideServer))
                 .count();
    UniqueFd gate = TRY(lock_file(layout_.gate_lock(), true));
    UniqueFd held = TRY(lock_file(layout_.gc_lock(), true));
    server.reset();
    for (const std::string& name : TRY(find_repositories(layout_)))
      repositories_.push_back(TRY(read_repository(name)));
    for (Repository& repository : repositories_) TRY(sweep_repository(repository));
    TRY(sweep_blobs());
    return report_;
  }

 private:
  // ---- mark

  Result<Repository> read_repository(const std::string& name) {
    Repository out;
    out.name = name;
    ++report_.repositories;
    for (const auto& [digest, path] :
         TRY(digests_below(layout_.repository(name) + "/_manifests", false)))
      out.manifests.emplace(digest, TRY_CONTEXT(read_manifest(digest, path), "repository " + name));
    if (options_.untagged) TRY(find_untagged(out));
    return out;
  }

  Result<ManifestDocument> read_manifest(const ContentDigest& digest, const std::string& path) {
    auto damaged = [&](const std::string& why) {
      return Error(ErrorKind::kCorrupt, fmt::format("manifest {}: {}", digest.str(), why))
          .hint("push it again or delete it; until then nothing can be collected");
    };
    auto info = parse_manifest_marker(digest, TRY(read_file(path, 4096)));
    if (!info) return damaged("its record is damaged");
    auto bytes = read_file(layout_.blob(digest), kMaxManifest);
    if (!bytes) return damaged(bytes.error().full_message());
    if (ContentDigest::of(*bytes, digest.algorithm) != digest)
      return damaged("its content does not have its digest");
    auto document = ManifestDocument::parse(*bytes, info->media_type);
    if (!document) return damaged(document.error().full_message());
    return std::move(*document);
  }

  // A manifest stays while a tag leads to it, or it refers to (subject) one that stays.
  Result<void> find_untagged(Repository& repository) {
    std::set<ContentDigest> reached;
    std::vector<ContentDigest> queue;
    auto reach = [&](const ContentDigest& digest) {
      if (repository.manifests.contains(digest) && reached.insert(digest).second)
        queue.push_back(digest);
    };
    for (const std::string& tag : TRY(list_directory(layout_.tags(repository.name)))) {
      std::string text = TRY(read_file(layout_.tag(repository.name, tag), 4096));
      while (!text.empty() && text.back() == '\n') text.pop_back();
      if (auto digest = ContentDigest::parse(text)) reach(*digest);
    }
    std::multimap<ContentDigest, ContentDigest> referrers;
    for (const auto& [digest, document] : repository.manifests)
      if (document.subject) referrers.emplace(*document.subject, digest);
    while (!queue.empty()) {
      ContentDigest digest = std::move(queue.back());
      queue.pop_back();
      for (const ManifestReference& child : repository.manifests.at(digest).references)
        if (auto parsed = ContentDigest::parse(child.digest); parsed && child.is_manifest)
          reach(*parsed);
      auto [begin, end] = referrers.equal_range(digest);
      for (auto item = begin; item != end; ++item) reach(item->second);
    }
    for (const auto& [digest, document] : repository.manifests) {
      if (reached.contains(digest)) continue;
      if (TRY(is_young(layout_.manifest(repository.name, digest)))) continue;
      repository.dropped.insert(digest);
    }
    return {};
  }

  // ---- sweep

  Result<void> sweep_repository(Repository& repository) {
    const std::string& name = repository.name;
    std::set<ContentDigest> needed;
    for (const auto& [digest, document] : repository.manifests) {
      if (repository.dropped.contains(digest)) {
        ++report_.removed_manifests;
        TRY(remove(layout_.manifest(name, digest),
                   fmt::format("manifest {}@{}", name, digest.str())));
        continue;
      }
      ++report_.manifests;
      content_.insert(digest);
      for (const ManifestReference& reference : document.references)
        if (auto parsed = ContentDigest::parse(reference.digest)) needed.insert(*parsed);
    }
    for (const auto& [digest, path] : TRY(digests_below(layout_.repository(name) + "/_blobs", false))) {
      if (needed.contains(digest) || TRY(is_young(path))) {
        content_.insert(digest);
        continue;
      }
      ++report_.removed_links;
      TRY(remove(path, fmt::format("blob {}@{}", name, digest.str())));
    }
    TRY(sweep_referrers(repository));
    return sweep_uploads(name);
  }

  // Entries of manifests that are gone.
  Result<void> sweep_referrers(const Repository& repository) {
    const std::string folder = layout_.repository(repository.name) + "/_referrers";
    for (const char* algorithm : {"sha256", "sha512"})
      for (const std::string& subject : TRY(list_directory(folder + "/" + algorithm))) {
        const std::string list = folder + "/" + algorithm + "/" + subject;
        for (const std::string& key : TRY(list_directory(list))) {
          std::string text = key;
          std::replace(text.begin(), text.end(), '-', ':');
          auto digest = ContentDigest::parse(text);
          if (digest && repository.manifests.contains(*digest) &&
              !repository.dropped.contains(*digest))
            continue;
          if (!options_.dry_run) TRY(remove_durably(list + "/" + key));
        }
      }
    return {};
  }

  Result<void> sweep_uploads(const std::string& name) {
    for (const std::string& id : TRY(list_directory(layout_.uploads(name)))) {
      const std::string path = layout_.upload(name, id);
      auto facts = TRY(facts_of(path));
      if (!facts || facts->age < options_.upload_age.count()) continue;
      auto fd = open_file(path, O_RDONLY);
      // A request that works on it holds it shared.
      if (!fd || ::flock(fd->get(), LOCK_EX | LOCK_NB) != 0) continue;
      ++report_.removed_uploads;
      report_.freed_bytes += facts->size;
      TRY(remove(path, fmt::format("upload {}/{}", name, id)));
    }
    return {};
  }

  Result<void> sweep_blobs() {
    for (const auto& [digest, path] : TRY(digests_below(layout_.blobs(), true))) {
      if (content_.contains(digest)) {
        ++report_.blobs;
        continue;
      }
      auto facts = TRY(facts_of(path));
      if (!facts) continue;
      if (facts->age < grace_) {
        ++report_.kept_for_grace;
        continue;
      }
      ++report_.removed_blobs;
      report_.freed_bytes += facts->size;
      TRY(remove(path, fmt::format("content {} ({} bytes)", digest.str(), facts->size)));
    }
    return {};
  }

  // ---- files

  Result<std::optional<FileFacts>> facts_of(const std::string& path) {
    struct stat st;
    if (::lstat(path.c_str(), &st) == 0)
      return std::optional<FileFacts>(
          FileFacts{static_cast<uint64_t>(st.st_size), std::time(nullptr) - st.st_mtime});
    if (errno == ENOENT) return std::optional<FileFacts>();
    return Error::from_errno(errno, "stat " + path);
  }

  Result<bool> is_young(const std::string& path) {
    auto facts = TRY(facts_of(path));
    const bool young = facts && facts->age < grace_;
    if (young) ++report_.kept_for_grace;
    return young;
  }

  Result<void> remove(const std::string& path, const std::string& what) {
    if (options_.on_removed) options_.on_removed(what);
    if (!options_.dry_run) TRY(remove_durably(path));
    return {};
  }

  const GcOptions& options_;
  Layout layout_;
  int64_t grace_ = 0;
  GcReport report_;
  std::vector<Repository> repositories_;
  std::set<ContentDigest> content_;  // bytes that stay
};

}  // namespace

Result<GcReport> collect_garbage(const GcOptions& options) { return Collector(options).run(); }

}  // namespace kasane::serve
