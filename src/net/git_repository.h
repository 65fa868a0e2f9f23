// The bare repository that the cache keeps per remote, and what a ref means there.
#pragma once

#include <stop_token>
#include <string>

#include "net/git_command.h"
#include "net/git_ref.h"

namespace kasane::net {

// What `ref` means at the remote now.
struct ResolvedRef {
  std::string object;  // the commit, or the annotated tag that leads to it
  std::string commit;  // "" when only fetching can tell (a full object id was given)
  std::string name;    // "refs/heads/main"; "" when the ref was an object id
};

bool is_object_id(std::string_view text);

// ls-remote, except for a full object id, which needs no request. Branches go before tags, as
// in BuildKit. kNotFound; kCorrupt when the checksum differs.
Result<ResolvedRef> resolve_ref(const Git& git, const GitRef& ref);
// kCorrupt unless the checksum is a prefix of one of the two ids.
Result<void> check_commit(const GitRef& ref, const ResolvedRef& resolved);

// REQUIRES: the caller holds the entry's lock. A fetched object X is kept by the ref
// refs/kasane/X, which is made last: what has it is complete.
class Repository {
 public:
  Repository(const Git& git, std::string path) : git_(git), path_(std::move(path)) {}
  // Makes the object available and fills resolved.commit. The least that the server allows is
  // moved: one commit, else everything.
  Result<void> fetch(ResolvedRef& resolved, bool by_commit_only);
  const std::string& path() const { return path_; }
  static std::string keep_ref(const std::string& object) { return "refs/kasane/" + object; }

 private:
  Git::Place place() const { return {.git_dir = path_, .work_tree = {}}; }
  Result<void> create(bool sha256);
  bool has(const std::string& object) const;
  Result<void> fetch_new(const ResolvedRef& resolved, bool by_commit_only);
  Result<bool> fetch_shallow(const std::string& source, const std::string& object, bool& refused);
  Result<void> fetch_all();
  const Git& git_;
  std::string path_;
};

}  // namespace kasane::net
