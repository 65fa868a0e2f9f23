// .dockerignore and ADD/COPY --exclude: pattern sets with moby/patternmatcher's meaning
// (G02-G07, K29). Paths are relative to the root, '/'-separated, clean ("a/b", never "./a").
// Immutable after construction: share it between threads freely.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/source.h"

namespace kasane::dockerfile {

// Which pattern decides about a path: the last one that matches it or one of its parents.
// A walker keeps the verdict of each directory and hands it to its children; the default
// value is the verdict of the root.
//
// As in BuildKit's walker a pattern that could change nothing for a directory is not tried
// on it, and so not inherited: after `**/*.log`, `!logs` the file logs/a.log stays excluded,
// because `logs` itself was never excluded.
struct IgnoreVerdict {
  int pattern = -1;  // index of the deciding pattern; -1: none matches
  bool excluded = false;

  // Patterns that matched this path or a parent, one bit each: the first 64, then the rest
  // in words of 64. Meaningful to IgnoreMatcher alone.
  uint64_t matched = 0;
  std::shared_ptr<const std::vector<uint64_t>> more_matched;
};

struct IgnorePattern {
  std::string text;  // cleaned, without `!`
  bool negated = false;
  int line = 0;     // 1-based line of the ignore file; 0 for patterns given as a list
  SourceSpan span;  // empty for patterns given as a list
};

class IgnoreMatcher {
 public:
  IgnoreMatcher();  // excludes nothing
  ~IgnoreMatcher();
  IgnoreMatcher(IgnoreMatcher&&) noexcept;
  IgnoreMatcher& operator=(IgnoreMatcher&&) noexcept;
  IgnoreMatcher(const IgnoreMatcher&);
  IgnoreMatcher& operator=(const IgnoreMatcher&);

  // A .dockerignore file. Bad lines are errors with a span, never skipped (G07).
  static Result<IgnoreMatcher> parse(std::shared_ptr<const SourceText> source);
  // Patterns of --exclude, each as one line of the file (no comments).
  static Result<IgnoreMatcher> from_patterns(const std::vector<std::string>& patterns);

  bool empty() const;
  const std::vector<IgnorePattern>& patterns() const;

  // For a walker: verdict of `path`, given the verdict of its parent directory. Start at the
  // root with a default IgnoreVerdict. Cost: patterns x length of path at worst.
  IgnoreVerdict child(const IgnoreVerdict& parent, std::string_view path) const;
  // Could anything below the excluded directory `dir` be re-included by a later `!` line?
  // false: the walker need not open it. May say true for nothing, never false for something.
  bool may_include_below(const IgnoreVerdict& verdict, std::string_view dir) const;

  // For single questions: walks through the parents itself.
  IgnoreVerdict verdict(std::string_view path) const;
  bool excluded(std::string_view path) const { return verdict(path).excluded; }
  // The pattern that decides about `path`, excluded or re-included; null when none matches.
  const IgnorePattern* deciding(std::string_view path) const;

 private:
  struct Compiled;
  explicit IgnoreMatcher(std::shared_ptr<const Compiled> compiled);
  std::shared_ptr<const Compiled> compiled_;
};

}  // namespace kasane::dockerfile
