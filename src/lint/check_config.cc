#include "lint/check_config.h"

#include <algorithm>
#include <optional>

#include "base/text.h"

namespace kasane::lint {
namespace {

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\n\v\f\r";
  size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

// Go's strconv.ParseBool.
std::optional<bool> to_bool(std::string_view text) {
  for (const char* word : {"1", "t", "T", "true", "TRUE", "True"})
    if (text == word) return true;
  for (const char* word : {"0", "f", "F", "false", "FALSE", "False"})
    if (text == word) return false;
  return std::nullopt;
}

void read_rules(std::string_view text, bool& all, std::set<std::string>& rules) {
  if (text == "all") {
    all = true;
    return;
  }
  for (size_t position = 0; position <= text.size();) {
    size_t comma = std::min(text.find(',', position), text.size());
    rules.emplace(trimmed(text.substr(position, comma - position)));
    position = comma + 1;
  }
}

Result<void> read_option(std::string_view option, CheckConfig& config) {
  size_t equals = option.find('=');
  auto invalid = [](std::string_view what) {
    return Error(ErrorKind::kInvalid, "invalid check option " + quoted(what))
        .hint("for example: skip=RuleA,RuleB;error=true");
  };
  if (equals == std::string_view::npos) return invalid(option);
  std::string_view key = trimmed(option.substr(0, equals));
  std::string_view value = trimmed(option.substr(equals + 1));
  if (key == "skip") {
    read_rules(value, config.skip_all, config.skip);
  } else if (key == "experimental") {
    read_rules(value, config.experimental_all, config.experimental);
  } else if (key == "error") {
    std::optional<bool> on = to_bool(value);
    if (!on)
      return Error(ErrorKind::kInvalid, "failed to parse check option " + quoted(option) +
                                            ": strconv.ParseBool: parsing " + quoted(value) +
                                            ": invalid syntax")
          .hint("use error=true or error=false");
    config.error = *on;
  } else {
    return invalid(key);
  }
  return {};
}

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

// The value of a comment `check = value`; the grammar is that of a directive (D02).
std::optional<std::string_view> check_comment(std::string_view comment) {
  comment = trimmed(comment);
  size_t end = 0;
  while (end < comment.size() && (is_letter(comment[end]) || (end > 0 && is_digit(comment[end]))))
    ++end;
  const std::string name = ascii_lower(comment.substr(0, end));
  std::string_view rest = trimmed(comment.substr(end));
  if (name != "check" || !rest.starts_with('=')) return std::nullopt;
  std::string_view value = trimmed(rest.substr(1));
  if (value.empty()) return std::nullopt;
  return value;
}

}  // namespace

bool CheckConfig::applies(std::string_view rule, bool is_experimental) const {
  std::string name(rule);
  if (is_experimental) return experimental_all || experimental.contains(name);
  return !skip_all && !skip.contains(name);
}

void CheckConfig::merge(const CheckConfig& other) {
  skip_all |= other.skip_all;
  skip.insert(other.skip.begin(), other.skip.end());
  experimental_all |= other.experimental_all;
  experimental.insert(other.experimental.begin(), other.experimental.end());
}

Result<CheckConfig> parse_check_config(std::string_view text) {
  CheckConfig config;
  text = trimmed(text);
  if (text.empty()) return config;
  // Three parts at most: a third `;` belongs to the last value, as in BuildKit.
  for (int part = 0; part < 3; ++part) {
    size_t semicolon = part == 2 ? std::string_view::npos : text.find(';');
    TRY(read_option(text.substr(0, semicolon), config));
    if (semicolon == std::string_view::npos) break;
    text.remove_prefix(semicolon + 1);
  }
  return config;
}

CheckConfig config_of_comments(const std::vector<dockerfile::Word>& comments) {
  for (const dockerfile::Word& comment : comments) {
    std::optional<std::string_view> value = check_comment(comment.text);
    if (!value) continue;
    Result<CheckConfig> config = parse_check_config(value->substr(0, value->find(' ')));
    return config ? std::move(*config) : CheckConfig();
  }
  return {};
}

}  // namespace kasane::lint
