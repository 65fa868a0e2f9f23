// Which stages a target needs (S01, S09). Internal to lint/.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "dockerfile/ast.h"

namespace kasane::lint {

// Lookup of stages by name, any case; the file must outlive it.
class StageNames {
 public:
  explicit StageNames(const dockerfile::Dockerfile& file);
  // The last stage of that name before `index` (K42).
  std::optional<int> find(std::string_view name, int before_index) const;
  std::optional<int> find(std::string_view name) const { return find(name, count_); }
  // The same, or a stage number: what COPY --from and mounts name.
  std::optional<int> find_source(std::string_view name, int before_index) const;
  std::vector<std::string> names() const;

 private:
  int count_;
  std::map<std::string, std::vector<int>, std::less<>> indexes_;
};

// The stage that --target names, or the last one. kNotFound with a suggestion.
Result<int> find_target(const dockerfile::Dockerfile& file, const StageNames& names,
                        const std::string& target);

// Triggers that one file may fire in all: each stage fires those of its base, so their number
// can grow with the square of the file.
inline constexpr size_t kMaxTriggers = 50'000;

// The triggers of a stage that is another one's base, parsed.
Result<std::vector<dockerfile::Instruction>> triggers_of(const dockerfile::Stage& base);

// Per stage: is it needed by `target`? `bases[i]`: index of the stage that i is built FROM, or
// -1 for an image. References to later or unknown stages are not judged here.
std::vector<bool> reachable_stages(const dockerfile::Dockerfile& file, const StageNames& names,
                                   const std::vector<int>& bases, int target);

}  // namespace kasane::lint
