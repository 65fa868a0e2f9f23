// Variable expansion as BuildKit's shell lexer does it (V01-V13, V21, H07).
// Pure functions of (word, environment); thread-safe as long as the Environment is.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace kasane::dockerfile {

// What names mean. Implementations are owned by the caller and outlive the call.
class Environment {
 public:
  virtual ~Environment() = default;
  virtual std::optional<std::string> get(std::string_view name) const = 0;
  virtual std::vector<std::string> names() const = 0;  // for suggestions only
};

// Ordered list of variables; setting a known name replaces its value in place (I01).
class EnvironmentList final : public Environment {
 public:
  EnvironmentList() = default;
  // From "KEY=value" entries, as in an image config; an entry without `=` is a key with "".
  explicit EnvironmentList(const std::vector<std::string>& entries);

  void set(std::string name, std::string value);
  void unset(std::string_view name);
  std::optional<std::string> get(std::string_view name) const override;
  std::vector<std::string> names() const override;
  const std::vector<std::pair<std::string, std::string>>& variables() const { return variables_; }
  std::vector<std::string> entries() const;  // "KEY=value"

 private:
  std::vector<std::pair<std::string, std::string>> variables_;
  std::map<std::string, size_t, std::less<>> index_;  // name to position in variables_
};

struct Expansion {
  std::string value;
  std::set<std::string> matched;    // variables read that were set (A16: key and explain)
  std::set<std::string> unmatched;  // variables read that were not (BuildKit's set)
  std::set<std::string> defaulted;  // those of unmatched that stood with -, + or ?
};

inline constexpr size_t kMaxExpandedBytes = 16u << 20;

// Quotes and escapes removed, variables replaced, one word out (ProcessWord).
// Errors: kInvalid with BuildKit's sentence ("failed to process \"${}\": ..."), no span;
// the caller adds the word's span with .at().
Result<Expansion> expand_word(std::string_view word, const Environment& env, char escape = '\\');

struct WordsExpansion {
  std::vector<std::string> words;
  std::set<std::string> matched;
  std::set<std::string> unmatched;
  std::set<std::string> defaulted;
};

// The same, then split at unquoted blanks, those from variables included (ProcessWords;
// EXPOSE, V18).
Result<WordsExpansion> expand_words(std::string_view text, const Environment& env,
                                    char escape = '\\');

// Body of an unquoted ADD/COPY heredoc: quotes are ordinary, escape is always backslash (H07).
Result<Expansion> expand_heredoc(std::string_view body, const Environment& env);

// "Usage of undefined variable '$NAME' (did you mean $NODE?)" for check UndefinedVar.
std::string undefined_variable_message(std::string_view name, const Environment& env);

}  // namespace kasane::dockerfile
