// The mounts of one RUN: what they are in the key, and what the executor gets.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "build/ops/shortcut.h"
#include "build/ops/step.h"
#include "store/cache_mounts.h"

namespace kasane::build {

// Adds what the mounts are to the key (Q01, RM1, RM8): shape, and the content that a bind
// mount or the base of a cache mount shows; never a secret's value, nor id and sharing of a
// cache. `digests` gets the content of each mount for prepare(), in order.
struct MountContent {
  std::optional<Sha256Digest> digest;    // of what is mounted
  std::optional<Shortcut> shortcut;      // leads to `digest` without planning
};
Result<std::vector<MountContent>> add_mounts_to_key(BuildEnvironment& env, const StepInput& input,
                                                    const RunOp& op, StepKey& key);
// Notes in the key which files the mounts show, so that a later miss can name the changed one.
// Only for a step that will run: a hit must not pay for it.
Result<void> note_mounted_files(BuildEnvironment& env, const StepInput& input, const RunOp& op, StepKey& key);

// Mounts as they are while the step runs; released by the destructor.
class StepMounts {
 public:
  static Result<std::unique_ptr<StepMounts>> prepare(BuildEnvironment& env, const StepInput& input,
                                                     const RunOp& op, const std::string& scratch,
                                                     const std::vector<MountContent>& contents);
  const std::vector<exec::Mount>& mounts() const { return mounts_; }
  // Variables that secret and ssh mounts set.
  const std::vector<std::string>& env() const { return env_; }
  bool has_secrets() const { return has_secrets_; }

 private:
  StepMounts(BuildEnvironment& env, const StepInput& input, const std::string& scratch)
      : build_(env), input_(input), scratch_(scratch) {}
  Result<void> add(const RunOp& op, const RunMount& mount, const MountContent& content);
  store::CacheMountRequest cache_request(const RunMount& mount, const MountContent& content) const;
  Result<void> open_caches(const RunOp& op, const std::vector<MountContent>& contents);
  Result<void> add_bind(const RunMount& mount, exec::Mount& target);
  Result<void> add_cache(const RunMount& mount, const MountContent& content, exec::Mount& target);
  Result<bool> add_secret(const RunMount& mount, exec::Mount& target);
  Result<bool> add_ssh(const RunOp& op, const RunMount& mount, exec::Mount& target);
  Result<void> add_writable_part(exec::Mount& target);
  Result<void> view_of(const SourceRef& from, const std::string& source, exec::Mount& target);

  BuildEnvironment& build_;
  const StepInput& input_;
  const std::string scratch_;
  int number_ = 0;
  bool has_secrets_ = false;
  bool ssh_auth_sock_set_ = false;
  std::vector<exec::Mount> mounts_;
  std::vector<std::string> env_;
  std::vector<std::unique_ptr<SshRelay>> relays_;
  std::map<std::string, store::CacheMountHandle> caches_;  // by cache_mount_key()
};

}  // namespace kasane::build
