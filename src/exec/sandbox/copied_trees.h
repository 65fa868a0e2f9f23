// What the storage modes without the kernel's overlayfs do around a step, in the builder:
// copies before it, the difference after it, and one form for every upper directory.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "exec/executor.h"

namespace kasane::exec {

// The copies of one step, in a directory beside RunSpec::work_dir that goes with the
// object. Not copyable, one thread.
class CopiedTrees {
 public:
  // kOverlay: nothing is made. kFuseOverlay: the overlays that the step mounts beside its
  // root are copies. kCopy: the root too.
  static Result<CopiedTrees> make(const RunSpec& spec, Storage storage, bool userxattr);
  CopiedTrees(CopiedTrees&& other) noexcept;
  CopiedTrees& operator=(CopiedTrees&&) = delete;
  ~CopiedTrees();

  // The copied root; "" when the root is an overlay.
  const std::string& root() const { return root_; }
  // Where the supervisor notes inodes that only our own stubs touched.
  std::string untouched_file() const { return directory_ + "/untouched"; }
  // Per RunSpec::mounts: the directory to show instead of an overlay, or "".
  const std::vector<std::string>& views() const { return views_; }

  // After the step, whatever its exit status: RunSpec::upper_dir gets its promised form.
  Result<void> finish(const RunSpec& spec);

 private:
  CopiedTrees() = default;
  Result<void> copy_all(const RunSpec& spec);
  Result<void> difference(const RunSpec& spec);

  Storage storage_ = Storage::kOverlay;
  bool userxattr_ = false;
  bool keep_changes_ = true;
  std::string directory_, root_;
  std::vector<std::string> views_;
};

}  // namespace kasane::exec
