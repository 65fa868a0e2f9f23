// First line: a path; the rest: an ignore file. No crash, no hang; the verdict of a path does
// not depend on how it was reached; a pruned directory holds nothing re-included; COPY
// wildcards and ignore patterns agree on patterns without `**`.
#include <cstdlib>
#include <string>

#include "dockerfile/ignore.h"
#include "dockerfile/match.h"

using namespace kasane;
using namespace kasane::dockerfile;

static std::string clean(std::string_view raw) {
  std::string out;
  for (size_t i = 0; i <= raw.size();) {
    size_t slash = std::min(raw.find('/', i), raw.size());
    std::string_view part = raw.substr(i, slash - i);
    i = slash + 1;
    if (part.empty() || part == "." || part == "..") continue;
    if (!out.empty()) out += '/';
    out += part;
  }
  return out;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  size_t newline = std::min(text.find('\n'), text.size());
  std::string path = clean(text.substr(0, newline));
  if (path.empty() || newline == text.size()) return 0;
  std::string patterns(text.substr(newline + 1));
  auto matcher =
      IgnoreMatcher::parse(std::make_shared<const SourceText>(".dockerignore", patterns));
  if (!matcher) return 0;
  IgnoreVerdict verdict;
  for (size_t slash = path.find('/'); slash != std::string::npos;
       slash = path.find('/', slash + 1)) {
    std::string dir = path.substr(0, slash);
    verdict = matcher->child(verdict, dir);
    bool pruned = verdict.excluded && !matcher->may_include_below(verdict, dir);
    if (pruned && !matcher->excluded(path)) std::abort();
  }
  verdict = matcher->child(verdict, path);
  if (verdict.excluded != matcher->excluded(path)) std::abort();
  if (matcher->patterns().size() == 1) {
    const IgnorePattern& one = matcher->patterns()[0];
    auto matched = match_path(one.text, path);
    if (!matched) std::abort();
    bool simple = !one.negated && one.text.find("**") == std::string::npos;
    if (simple && *matched && !verdict.excluded) std::abort();
  }
  return 0;
}
