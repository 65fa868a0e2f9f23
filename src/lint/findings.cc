#include "lint/findings.h"

#include <algorithm>

#include "lint/rules.h"

namespace kasane::lint {
namespace {

constexpr size_t kNear = 3;  // exclusive
constexpr size_t kLongestName = 128;
// In cells of distance tables: about 0.1 s. A name that is only looked at counts as well.
constexpr size_t kMaxSuggestionCost = 50'000'000;
constexpr size_t kNameCost = 64;

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      size_t next =
          std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = row[j];
      row[j] = next;
    }
  }
  return row[b.size()];
}

}  // namespace

void Findings::add(std::string_view rule_name, const SourceSpan& span,
                   const std::vector<dockerfile::Word>& comments, std::string message,
                   std::string note) {
  if (findings_.size() == kMaxFindings) return;
  const Rule& rule = rule_named(rule_name);
  CheckConfig config = config_of_comments(comments);
  config.merge(config_);
  if (!config.applies(rule.name, rule.experimental)) return;
  if (!seen_.emplace(std::string(rule.name), span.first_line(), message).second) return;
  Finding finding;
  finding.rule = rule.name;
  finding.description = rule.description;
  if (!rule.page.empty()) finding.url = std::string(kRulePages) + std::string(rule.page) + "/";
  finding.message = std::move(message);
  finding.span = span;
  finding.experimental = rule.experimental;
  finding.note = std::move(note);
  findings_.push_back(std::move(finding));
}

std::string Findings::suggest(std::string_view word, const std::vector<std::string>& known) {
  if (word.size() > kLongestName) return "";
  if (std::find(known.begin(), known.end(), word) != known.end()) return "";
  std::string best;
  size_t best_distance = kNear;
  for (const std::string& name : known) {
    suggestion_cost_ += kNameCost;
    if (!may_suggest()) return "";
    size_t longer = std::max(word.size(), name.size());
    if (longer - std::min(word.size(), name.size()) >= best_distance) continue;
    suggestion_cost_ += word.size() * name.size();
    size_t distance = edit_distance(word, name);
    if (distance >= best_distance) continue;
    best_distance = distance;
    best = name;
  }
  return best;
}

bool Findings::may_suggest() const { return suggestion_cost_ <= kMaxSuggestionCost; }

}  // namespace kasane::lint
