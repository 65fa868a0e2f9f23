#include "base/diagnostic.h"
#include "base/text.h"
#include "dockerfile/instructions/instructions.h"
#include "dockerfile/unicode.h"

namespace kasane::dockerfile {
namespace {

Error flag_error(std::string message, const Flag& flag) {
  return Error(ErrorKind::kInvalid, std::move(message)).at(flag.span);
}

// Span of what stands behind the `=`; the whole flag where quotes hide it.
SourceSpan value_span(const Flag& flag) {
  SourceSpan span = flag.span;
  if (!span.source) return span;
  std::string_view written = span.source->text().substr(span.begin, span.end - span.begin);
  size_t equals = written.find('=');
  if (equals != std::string_view::npos && equals + 1 < written.size())
    span.begin += static_cast<uint32_t>(equals) + 1;
  return span;
}

}  // namespace

std::string suggestion(std::string_view word, const std::vector<std::string>& known) {
  constexpr size_t kLongestName = 80;  // no typo of ours is longer
  if (word.size() > kLongestName) return "";
  std::string near = nearest_name(word, known);
  if (near.empty() || near == word) return "";
  return " (did you mean " + near + "?)";
}

Flag to_flag(const Word& word) {
  Flag flag;
  flag.span = word.span;
  std::string_view text = std::string_view(word.text).substr(2);
  size_t equals = text.find('=');
  flag.name = std::string(text.substr(0, equals));
  if (equals != std::string_view::npos) flag.value = std::string(text.substr(equals + 1));
  return flag;
}

Result<> FlagSet::check_value(const Flag& flag, Kind kind) {
  bool missing = kind == Kind::kBool ? flag.value && flag.value->empty() : !flag.value;
  if (missing) return flag_error("missing a value on flag: --" + flag.name, flag);
  if (kind == Kind::kBool && flag.value) {
    std::string lower = ascii_lower(*flag.value);
    if (lower != "true" && lower != "false")
      return flag_error("expecting boolean value for flag --" + flag.name + ", not: " + *flag.value,
                        flag);
  }
  return {};
}

Result<FlagSet> FlagSet::parse(const Node& node, const std::vector<Known>& known) {
  FlagSet out;
  for (const Word& word : node.flags) {
    Flag flag = to_flag(word);
    const Known* match = nullptr;
    for (const Known& candidate : known)
      if (candidate.name == flag.name) match = &candidate;
    if (!match) {
      std::vector<std::string> names;
      for (const Known& candidate : known) names.emplace_back(candidate.name);
      return flag_error("unknown flag: --" + flag.name + suggestion(flag.name, names), flag);
    }
    if (match->kind != Kind::kList && out.values_.contains(flag.name))
      return flag_error("duplicate flag specified: --" + flag.name, flag);
    TRY(check_value(flag, match->kind));
    std::string value = flag.value.value_or("true");
    if (match->kind == Kind::kBool) value = ascii_lower(value);
    out.values_[flag.name].push_back({std::move(value), value_span(flag)});
  }
  return out;
}

bool FlagSet::is_true(std::string_view name) const { return get_bool(name).value_or(false); }

std::optional<bool> FlagSet::get_bool(std::string_view name) const {
  auto it = values_.find(name);
  if (it == values_.end()) return std::nullopt;
  return it->second.front().text == "true";
}

std::optional<Word> FlagSet::get(std::string_view name) const {
  auto it = values_.find(name);
  if (it == values_.end()) return std::nullopt;
  return it->second.front();
}

std::vector<Word> FlagSet::get_all(std::string_view name) const {
  auto it = values_.find(name);
  return it == values_.end() ? std::vector<Word>() : it->second;
}

}  // namespace kasane::dockerfile
