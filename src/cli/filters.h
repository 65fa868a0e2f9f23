// `--filter key=value` of lists and prune, and the pattern language of `reference=`.
#pragma once

#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "store/store.h"

namespace kasane::cli {

// Values by key (lower case), in the order given. Keys outside `allowed` are kInvalid:
// "invalid filter 'x'". "label!=v" is the key "label!".
class Filters {
 public:
  static Result<Filters> parse(const std::vector<std::string>& words,
                               std::initializer_list<std::string_view> allowed);
  bool has(std::string_view key) const { return values_.find(key) != values_.end(); }
  const std::vector<std::string>& values(std::string_view key) const;
  void add(std::string key, std::string value) {
    values_[std::move(key)].push_back(std::move(value));
  }
  // All values of a boolean filter agree; kInvalid otherwise. `absent` when not given.
  Result<bool> boolean(std::string_view key, bool absent) const;

 private:
  std::map<std::string, std::vector<std::string>, std::less<>> values_;
};

// Go's path.Match: `*` and `?` do not cross '/', [a-z], [^a], backslash. kInvalid for a
// malformed pattern ("syntax error in pattern").
Result<bool> path_match(std::string_view pattern, std::string_view name);

// label=k, label=k=v (all must hold) and label!=... (none may hold).
bool labels_match(const std::map<std::string, std::string>& labels, const Filters& filters);

// A `reference=` pattern against a stored canonical reference: its familiar form, or the
// familiar name without tag and digest.
Result<bool> reference_matches(std::string_view pattern, std::string_view canonical);

}  // namespace kasane::cli
