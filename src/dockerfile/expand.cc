#include "dockerfile/expand.h"

#include <algorithm>

#include "base/diagnostic.h"
#include "dockerfile/shell_lexer.h"

namespace kasane::dockerfile {

EnvironmentList::EnvironmentList(const std::vector<std::string>& entries) {
  for (const std::string& entry : entries) {
    size_t equals = entry.find('=');
    if (equals == std::string::npos) {
      set(entry, "");
    } else {
      set(entry.substr(0, equals), entry.substr(equals + 1));
    }
  }
}

void EnvironmentList::set(std::string name, std::string value) {
  auto [it, added] = index_.try_emplace(name, variables_.size());
  if (added) {
    variables_.emplace_back(std::move(name), std::move(value));
  } else {
    variables_[it->second].second = std::move(value);
  }
}

void EnvironmentList::unset(std::string_view name) {
  auto it = index_.find(name);
  if (it == index_.end()) return;
  size_t position = it->second;
  variables_.erase(variables_.begin() + static_cast<std::ptrdiff_t>(position));
  index_.erase(it);
  for (auto& [key, place] : index_)
    if (place > position) --place;
}

std::optional<std::string> EnvironmentList::get(std::string_view name) const {
  auto it = index_.find(name);
  if (it == index_.end()) return std::nullopt;
  return variables_[it->second].second;
}

std::vector<std::string> EnvironmentList::names() const {
  std::vector<std::string> out;
  out.reserve(variables_.size());
  for (const auto& [name, value] : variables_) out.push_back(name);
  return out;
}

std::vector<std::string> EnvironmentList::entries() const {
  std::vector<std::string> out;
  out.reserve(variables_.size());
  for (const auto& [name, value] : variables_) out.push_back(name + "=" + value);
  return out;
}

namespace {

Result<Expansion> expand_with(std::string_view text, const Environment& env,
                              const LexOptions& options) {
  LexResult lexed = TRY(lex(text, env, options));
  return Expansion{std::move(lexed.text), std::move(lexed.matched), std::move(lexed.unmatched),
                   std::move(lexed.defaulted)};
}

}  // namespace

Result<Expansion> expand_word(std::string_view word, const Environment& env, char escape) {
  LexOptions options;
  options.escape = escape;
  return expand_with(word, env, options);
}

Result<Expansion> expand_heredoc(std::string_view body, const Environment& env) {
  LexOptions options;
  options.ordinary_quotes = true;
  return expand_with(body, env, options);
}

Result<WordsExpansion> expand_words(std::string_view text, const Environment& env, char escape) {
  LexOptions options;
  options.escape = escape;
  options.split = true;
  LexResult lexed = TRY(lex(text, env, options));
  WordsExpansion out;
  for (LexWord& word : lexed.words) out.words.push_back(std::move(word.text));
  out.matched = std::move(lexed.matched);
  out.unmatched = std::move(lexed.unmatched);
  out.defaulted = std::move(lexed.defaulted);
  return out;
}

std::string undefined_variable_message(std::string_view name, const Environment& env) {
  std::string out = "Usage of undefined variable '$" + std::string(name) + "'";
  std::string near = nearest_name(name, env.names());
  if (!near.empty()) out += " (did you mean $" + near + "?)";
  return out;
}

}  // namespace kasane::dockerfile
