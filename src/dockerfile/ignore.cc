#include "dockerfile/ignore.h"

#include "dockerfile/ignore_pattern.h"
#include "dockerfile/unicode.h"

namespace kasane::dockerfile {
namespace {

constexpr size_t kMaxIgnoreBytes = 4u << 20;
constexpr size_t kMaxPatterns = 10'000;    // each is tried on every path of the context
constexpr size_t kMaxPatternBytes = 4096;  // PATH_MAX
constexpr size_t kBitsPerWord = 64;

// Go's filepath.Clean: no empty, `.` and inner `..` components, no trailing slash.
std::string clean_path(std::string_view path) {
  bool rooted = path.starts_with('/');
  std::vector<std::string_view> parts;
  for (size_t i = 0; i <= path.size();) {
    size_t slash = std::min(path.find('/', i), path.size());
    std::string_view part = path.substr(i, slash - i);
    i = slash + 1;
    if (part.empty() || part == ".") continue;
    if (part == ".." && !parts.empty() && parts.back() != "..") {
      parts.pop_back();
    } else if (part != ".." || !rooted) {
      parts.push_back(part);
    }
  }
  std::string out = rooted ? "/" : "";
  for (size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) out += '/';
    out += parts[i];
  }
  return out.empty() ? "." : out;
}

Error pattern_error(std::string message, const IgnorePattern& pattern) {
  Error error(ErrorKind::kInvalid, std::move(message));
  if (pattern.span) error = std::move(error).at(pattern.span);
  if (pattern.line > 0) error = std::move(error).context("line " + std::to_string(pattern.line));
  return error;
}

// One line or one --exclude value, blanks trimmed, to a clean pattern (G02).
Result<IgnorePattern> read_pattern(std::string_view text, IgnorePattern pattern) {
  pattern.negated = text.starts_with('!');
  if (pattern.negated) text = trim(text.substr(1));
  if (text.empty()) return pattern_error("illegal exclusion pattern: \"!\"", pattern);
  if (text.size() > kMaxPatternBytes)
    return pattern_error("pattern is longer than " + std::to_string(kMaxPatternBytes) + " bytes",
                         pattern);
  pattern.text = clean_path(text);
  if (pattern.text.size() > 1 && pattern.text[0] == '/') pattern.text.erase(0, 1);
  return pattern;
}

}  // namespace

struct IgnoreMatcher::Compiled {
  std::vector<IgnorePattern> patterns;
  std::vector<CompiledPattern> compiled;

  Result<> add(IgnorePattern pattern) {
    if (patterns.size() == kMaxPatterns)
      return pattern_error("more than " + std::to_string(kMaxPatterns) + " patterns", pattern);
    auto one = CompiledPattern::compile(pattern.text);
    if (!one) return pattern_error(one.error().message() + ": " + quote(pattern.text), pattern);
    patterns.push_back(std::move(pattern));
    compiled.push_back(std::move(*one));
    return {};
  }
};

IgnoreMatcher::IgnoreMatcher() : compiled_(std::make_shared<const Compiled>()) {}
IgnoreMatcher::IgnoreMatcher(std::shared_ptr<const Compiled> compiled)
    : compiled_(std::move(compiled)) {}
IgnoreMatcher::~IgnoreMatcher() = default;
// A moved-from matcher would hold no pointer; sharing costs a counter only.
IgnoreMatcher::IgnoreMatcher(IgnoreMatcher&& other) noexcept : compiled_(other.compiled_) {}
IgnoreMatcher& IgnoreMatcher::operator=(IgnoreMatcher&& other) noexcept {
  compiled_ = other.compiled_;
  return *this;
}
IgnoreMatcher::IgnoreMatcher(const IgnoreMatcher&) = default;
IgnoreMatcher& IgnoreMatcher::operator=(const IgnoreMatcher&) = default;

Result<IgnoreMatcher> IgnoreMatcher::parse(std::shared_ptr<const SourceText> source) {
  std::string_view text = source->text();
  if (text.size() > kMaxIgnoreBytes)
    return Error(ErrorKind::kLimit, source->name() + " is larger than " +
                                        std::to_string(kMaxIgnoreBytes >> 20) + " MiB");
  auto compiled = std::make_shared<Compiled>();
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  size_t position = text.starts_with(kByteOrderMark) ? kByteOrderMark.size() : 0;
  for (int line = 1; position < text.size(); ++line) {
    size_t end = std::min(text.find('\n', position), text.size());
    std::string_view raw = text.substr(position, end - position);
    position = end + 1;
    if (raw.starts_with('#')) continue;  // in column 1 only
    std::string_view trimmed = trim(raw);
    if (trimmed.empty()) continue;
    IgnorePattern pattern;
    pattern.line = line;
    auto begin = static_cast<uint32_t>(trimmed.data() - text.data());
    pattern.span = {source, begin, begin + static_cast<uint32_t>(trimmed.size())};
    pattern = TRY_CONTEXT(read_pattern(trimmed, std::move(pattern)), source->name());
    TRY_CONTEXT(compiled->add(std::move(pattern)), source->name());
  }
  return IgnoreMatcher(std::move(compiled));
}

Result<IgnoreMatcher> IgnoreMatcher::from_patterns(const std::vector<std::string>& patterns) {
  auto compiled = std::make_shared<Compiled>();
  for (const std::string& text : patterns) {
    std::string_view trimmed = trim(text);
    if (trimmed.empty()) continue;
    IgnorePattern pattern = TRY(read_pattern(trimmed, {}));
    TRY(compiled->add(std::move(pattern)));
  }
  return IgnoreMatcher(std::move(compiled));
}

bool IgnoreMatcher::empty() const { return compiled_->patterns.empty(); }

const std::vector<IgnorePattern>& IgnoreMatcher::patterns() const { return compiled_->patterns; }

IgnoreVerdict IgnoreMatcher::child(const IgnoreVerdict& parent, std::string_view path) const {
  IgnoreVerdict out;
  std::vector<uint64_t> more;
  if (parent.more_matched) more = *parent.more_matched;
  bool more_changed = false;
  out.matched = parent.matched;
  for (size_t i = 0; i < compiled_->patterns.size(); ++i) {
    bool negated = compiled_->patterns[i].negated;
    size_t word = i / kBitsPerWord;
    uint64_t bit = uint64_t{1} << (i % kBitsPerWord);
    bool match =
        word == 0 ? (out.matched & bit) != 0 : word <= more.size() && (more[word - 1] & bit) != 0;
    if (!match) {
      if (negated != out.excluded) continue;  // could change nothing: see IgnoreVerdict
      match = compiled_->compiled[i].matches(path);
      if (!match) continue;
      if (word == 0) {
        out.matched |= bit;
      } else {
        more.resize(std::max(more.size(), word));
        more[word - 1] |= bit;
        more_changed = true;
      }
    }
    out.excluded = !negated;
    out.pattern = static_cast<int>(i);
  }
  out.more_matched = more_changed ? std::make_shared<const std::vector<uint64_t>>(std::move(more))
                                  : parent.more_matched;
  return out;
}

bool IgnoreMatcher::may_include_below(const IgnoreVerdict& verdict, std::string_view dir) const {
  // What excluded the directory excludes all below it, whatever earlier patterns say.
  for (size_t i = static_cast<size_t>(verdict.pattern + 1); i < compiled_->patterns.size(); ++i)
    if (compiled_->patterns[i].negated && compiled_->compiled[i].may_match_below(dir)) return true;
  return false;
}

IgnoreVerdict IgnoreMatcher::verdict(std::string_view path) const {
  IgnoreVerdict out;
  if (path.empty() || path == ".") return out;
  for (size_t slash = path.find('/'); slash != std::string_view::npos;
       slash = path.find('/', slash + 1))
    out = child(out, path.substr(0, slash));
  return child(out, path);
}

const IgnorePattern* IgnoreMatcher::deciding(std::string_view path) const {
  IgnoreVerdict found = verdict(path);
  return found.pattern < 0 ? nullptr : &compiled_->patterns[static_cast<size_t>(found.pattern)];
}

}  // namespace kasane::dockerfile
