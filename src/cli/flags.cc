#include "cli/flags.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/diagnostic.h"
#include "cli/template/gofmt.h"
#include "cli/units.h"

namespace kasane::cli {
namespace {

constexpr int kUsageExit = 125;

Error usage_error(std::string text) {
  return Error(ErrorKind::kInvalid, std::move(text)).exit_code(kUsageExit);
}

std::string flag_label(const FlagSpec& spec) {
  if (spec.shorthand) return fmt::format("-{}, --{}", spec.shorthand, spec.name);
  return fmt::format("--{}", spec.name);
}

// The reason why `value` does not fit the kind, in Go's words.
std::optional<std::string> refuse(const FlagSpec& spec, std::string_view value) {
  if (spec.kind == FlagKind::kBool && !parse_bool(value))
    return fmt::format("strconv.ParseBool: parsing {}: invalid syntax", quote(value));
  if (spec.kind == FlagKind::kInt) {
    size_t start = !value.empty() && (value[0] == '-' || value[0] == '+') ? 1 : 0;
    bool digits = value.size() > start && value.size() - start <= 18 &&
                  std::all_of(value.begin() + start, value.end(),
                              [](char c) { return c >= '0' && c <= '9'; });
    if (!digits) return fmt::format("strconv.ParseInt: parsing {}: invalid syntax", quote(value));
  }
  if (spec.check) return spec.check(value);
  return std::nullopt;
}

std::vector<std::string> wrap(std::string_view text, size_t width) {
  std::vector<std::string> lines;
  while (true) {
    size_t newline = text.find('\n');
    std::string_view line = text.substr(0, newline);
    while (line.size() > width) {
      size_t space = line.rfind(' ', width);
      if (space == std::string_view::npos || space == 0) break;
      lines.emplace_back(line.substr(0, space));
      line.remove_prefix(space + 1);
    }
    lines.emplace_back(line);
    if (newline == std::string_view::npos) return lines;
    text.remove_prefix(newline + 1);
  }
}

std::string left_column(const FlagSpec& spec) {
  std::string text = spec.shorthand ? fmt::format("  -{}, --{}", spec.shorthand, spec.name)
                                    : fmt::format("      --{}", spec.name);
  if (!spec.value_name.empty()) text += fmt::format(" {}", spec.value_name);
  return text;
}

std::string right_column(const FlagSpec& spec) {
  std::string text(spec.help);
  if (spec.default_text.empty() || spec.default_text == "false") return text;
  if (spec.kind == FlagKind::kString)
    return text + fmt::format(" (default {})", quote(spec.default_text));
  return text + fmt::format(" (default {})", spec.default_text);
}

}  // namespace

class FlagParser {
 public:
  FlagParser(std::span<const std::string> words, std::span<const FlagSpec> flags,
             std::span<const FlagSpec> common)
      : words_(words), flags_(flags), common_(common) {
    result_.arguments.specs_ = flags;
  }

  Result<FlagParseResult> parse(const FlagParseOptions& options) {
    while (next_ < words_.size() && !result_.help) {
      const std::string& word = words_[next_];
      if (word.size() < 2 || word[0] != '-') {
        if (!options.interspersed) break;
        result_.arguments.positional_.push_back(word);
        ++next_;
        if (options.stop_at_argument) take_rest();
        continue;
      }
      ++next_;
      if (word == "--") {
        if (options.interspersed) take_rest();
        break;
      }
      TRY(word[1] == '-' ? long_flag(word) : short_flags(word));
    }
    result_.consumed = next_;
    return std::move(result_);
  }

 private:
  void take_rest() {
    while (next_ < words_.size()) result_.arguments.positional_.push_back(words_[next_++]);
  }

  const FlagSpec* find(std::string_view name) const {
    for (std::span<const FlagSpec> table : {flags_, common_})
      for (const FlagSpec& spec : table)
        if (spec.name == name) return &spec;
    return nullptr;
  }

  const FlagSpec* find(char shorthand) const {
    for (std::span<const FlagSpec> table : {flags_, common_})
      for (const FlagSpec& spec : table)
        if (spec.shorthand == shorthand) return &spec;
    return nullptr;
  }

  Result<void> set(const FlagSpec& spec, std::string value) {
    if (auto reason = refuse(spec, value))
      return usage_error(fmt::format("invalid argument {} for {} flag: {}", quote(value),
                                     quote(flag_label(spec)), *reason));
    result_.arguments.given_.push_back({&spec, std::move(value)});
    return {};
  }

  Result<void> long_flag(const std::string& word) {
    std::string_view body = std::string_view(word).substr(2);
    if (body[0] == '-' || body[0] == '=')
      return usage_error(fmt::format("bad flag syntax: {}", word));
    size_t equals = body.find('=');
    std::string_view name = body.substr(0, equals);
    const FlagSpec* spec = find(name);
    if (!spec) {
      if (name == "help") {
        result_.help = true;
        return {};
      }
      return unknown_flag(name);
    }
    if (equals != std::string_view::npos) return set(*spec, std::string(body.substr(equals + 1)));
    if (spec->kind == FlagKind::kBool) return set(*spec, "true");
    if (next_ == words_.size())
      return usage_error(fmt::format("flag needs an argument: --{}", name));
    return set(*spec, words_[next_++]);
  }

  Error unknown_flag(std::string_view name) const {
    std::vector<std::string> names;
    for (const FlagSpec& spec : flags_)
      if (!spec.hidden) names.emplace_back(spec.name);
    Error error = usage_error(fmt::format("unknown flag: --{}", name));
    std::string near = nearest_name(name, names);
    if (near.empty()) return error;
    return std::move(error).hint(fmt::format("did you mean --{}?", near));
  }

  Result<void> short_flags(const std::string& word) {
    std::string_view rest = std::string_view(word).substr(1);
    while (!rest.empty()) {
      const FlagSpec* spec = find(rest[0]);
      if (!spec) {
        if (rest[0] == 'h') {
          result_.help = true;
          return {};
        }
        return usage_error(fmt::format("unknown shorthand flag: '{}' in -{}", rest[0], rest));
      }
      if (rest.size() > 2 && rest[1] == '=') return set(*spec, std::string(rest.substr(2)));
      if (spec->kind == FlagKind::kBool) {
        TRY(set(*spec, "true"));
        rest.remove_prefix(1);
        continue;
      }
      if (rest.size() > 1) return set(*spec, std::string(rest.substr(1)));
      if (next_ == words_.size())
        return usage_error(fmt::format("flag needs an argument: '{}' in -{}", rest[0],
                                       std::string_view(word).substr(1)));
      return set(*spec, words_[next_++]);
    }
    return {};
  }

  std::span<const std::string> words_;
  std::span<const FlagSpec> flags_;
  std::span<const FlagSpec> common_;
  size_t next_ = 0;
  FlagParseResult result_;
};

bool Arguments::given(std::string_view flag) const {
  return std::any_of(given_.begin(), given_.end(),
                     [&](const Given& g) { return g.spec->name == flag; });
}

std::string Arguments::value(std::string_view flag) const {
  for (auto it = given_.rbegin(); it != given_.rend(); ++it)
    if (it->spec->name == flag) return it->value;
  for (const FlagSpec& spec : specs_)
    if (spec.name == flag) return std::string(spec.default_text);
  return {};
}

bool Arguments::on(std::string_view flag) const { return parse_bool(value(flag)).value_or(false); }

std::vector<std::string> Arguments::list(std::string_view flag) const {
  std::vector<std::string> values;
  for (const Given& g : given_)
    if (g.spec->name == flag) values.push_back(g.value);
  return values;
}

Result<FlagParseResult> parse_flags(std::span<const std::string> words,
                                    std::span<const FlagSpec> flags,
                                    std::span<const FlagSpec> common,
                                    const FlagParseOptions& options) {
  return FlagParser(words, flags, common).parse(options);
}

std::string flag_usages(std::span<const FlagSpec> flags, size_t width) {
  std::vector<const FlagSpec*> shown;
  size_t column = 0;
  for (const FlagSpec& spec : flags) {
    if (spec.hidden) continue;
    shown.push_back(&spec);
    column = std::max(column, left_column(spec).size() + 3);
  }
  std::sort(shown.begin(), shown.end(),
            [](const FlagSpec* a, const FlagSpec* b) { return a->name < b->name; });
  const size_t room = width > column + 24 ? width - column - 1 : 24;
  std::string text;
  for (const FlagSpec* spec : shown) {
    std::string left = left_column(*spec);
    for (const std::string& line : wrap(right_column(*spec), room)) {
      text += left;
      if (!line.empty()) text.append(column - left.size(), ' ').append(line);
      text += '\n';
      left.clear();
    }
  }
  return text;
}

std::optional<bool> parse_bool(std::string_view text) {
  for (std::string_view yes : {"1", "t", "T", "true", "TRUE", "True"})
    if (text == yes) return true;
  for (std::string_view no : {"0", "f", "F", "false", "FALSE", "False"})
    if (text == no) return false;
  return std::nullopt;
}

std::optional<std::string> check_size(std::string_view value) {
  if (parse_size(value)) return std::nullopt;
  return fmt::format("invalid size: {}", quote(value));
}

std::optional<std::string> check_filter(std::string_view value) {
  if (value.find('=') != std::string_view::npos) return std::nullopt;
  return "bad format of filter (expected name=value)";
}

std::string quote(std::string_view text) { return tmpl::go_quote(text); }

}  // namespace kasane::cli
