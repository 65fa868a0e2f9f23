// Keys of steps: a list of named, readable inputs and the digest over them. The list is kept
// with the cached step, so that a miss can say which input changed.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/hash.h"
#include "base/result.h"

namespace kasane::build {

class StepKey {
 public:
  // Names are unique; order counts. Values may be long (a command); they are kept whole.
  void add(std::string name, std::string value) { parts_.emplace_back(std::move(name), std::move(value)); }
  const std::vector<std::pair<std::string, std::string>>& parts() const { return parts_; }
  // What explains a part in more detail and is not in the digest: the same key has the same
  // notes, or none where making them would cost too much.
  void note(std::string name, std::string value) { notes_.emplace_back(std::move(name), std::move(value)); }
  const std::vector<std::pair<std::string, std::string>>& notes() const { return notes_; }
  Sha256Digest digest() const;

  std::string to_json() const;
  static Result<StepKey> from_json(std::string_view json);

 private:
  std::vector<std::pair<std::string, std::string>> parts_, notes_;
};

// What differs, one sentence each, most telling first. Empty when the keys are equal.
std::vector<std::string> describe_changes(const StepKey& before, const StepKey& now);

}  // namespace kasane::build
