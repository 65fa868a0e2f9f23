// ContextTree: the build context directory, read in place through its ignore file.
// Directories are listed and stat'ed once, on first need; excluded ones are never opened.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <unordered_map>

#include "build/source_tree.h"
#include "build/stat_cache.h"
#include "dockerfile/ignore.h"

namespace kasane::build {

class ContextTree : public SourceTree {
 public:
  // `ignore_name` is how the ignore file is called in messages. Owners of all entries are
  // 0:0, as docker sends them (reference K17).
  static Result<std::unique_ptr<ContextTree>> open(const std::string& directory,
                                                   dockerfile::IgnoreMatcher ignore,
                                                   std::string ignore_name,
                                                   const std::string& stat_cache_path);

  Result<SourcePtr> lookup(std::string_view path) override;
  Result<std::vector<SourcePtr>> children(std::string_view directory) override;
  Result<std::unique_ptr<ByteSource>> open(const SourceEntry& entry) override;
  Result<Sha256Digest> digest(const SourceEntry& entry) override;
  void learned(const SourceEntry& entry, const Sha256Digest& digest) override;
  std::string why_absent(std::string_view path) override;

  // Taken once per path.
  Result<std::optional<Fingerprint>> fingerprint(const std::string& path) override;

  void save_knowledge() override { stat_cache_.save(); }

 private:
  struct Node {
    std::shared_ptr<SourceEntry> source;
    StatCache::Identity identity;
    dockerfile::IgnoreVerdict verdict;
    bool excluded = false;  // only a way to re-included entries below
  };
  struct Directory {
    std::map<std::string, Node> children;
  };
  ContextTree(UniqueFd root, std::string path, dockerfile::IgnoreMatcher ignore,
              std::string ignore_name, const std::string& stat_cache_path)
      : root_(std::move(root)),
        path_(std::move(path)),
        ignore_(std::move(ignore)),
        ignore_name_(std::move(ignore_name)),
        stat_cache_(stat_cache_path) {}

  // Both REQUIRE mutex_.
  Result<const Directory*> load(const std::string& directory);
  Result<const Node*> find(std::string_view path);
  Result<void> read_names(const std::string& directory, Directory& into);
  Result<std::optional<Node>> make_node(int directory_fd, const std::string& path, const char* name,
                                        const dockerfile::IgnoreVerdict& parent);
  Result<bool> has_included_below(const std::string& directory);

  struct FingerprintWalk;
  Result<void> fingerprint_directory(FingerprintWalk& walk, int fd, const std::string& path,
                                     const dockerfile::IgnoreVerdict& verdict);

  UniqueFd root_;
  std::string path_;
  dockerfile::IgnoreMatcher ignore_;
  std::string ignore_name_;
  StatCache stat_cache_;
  std::mutex mutex_;
  std::unordered_map<std::string, Directory> directories_;
  std::mutex fingerprint_mutex_;
  std::map<std::string, Fingerprint> fingerprints_;
};

}  // namespace kasane::build
