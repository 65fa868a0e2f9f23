#include "dockerfile/ast.h"

#include "base/text.h"
#include "dockerfile/unicode.h"

namespace kasane::dockerfile {

std::string Heredoc::content() const {
  if (!chomp) return body;
  std::string out;
  out.reserve(body.size());
  bool line_start = true;
  for (char c : body) {
    if (line_start && c == '\t') continue;
    line_start = c == '\n';
    out += c;
  }
  return out;
}

// The mark covers the whole text: its span is all the command's text has.
bool CommandLine::is_heredoc_script() const {
  return !is_exec && heredocs.size() == 1 && heredocs[0].span.begin <= span.begin &&
         heredocs[0].span.end >= span.end;
}

bool CommandLine::has_shebang() const {
  return is_heredoc_script() && heredocs[0].content().starts_with("#!");
}

std::string CommandLine::shell_text() const {
  if (is_heredoc_script()) return heredocs[0].content();
  std::string out = text;
  for (const Heredoc& heredoc : heredocs) out += "\n" + heredoc.body + heredoc.name;
  return out;
}

const Stage* Dockerfile::find_stage(std::string_view name, int before_index) const {
  std::string lower = ascii_lower(name);
  if (lower.empty()) return nullptr;
  for (auto stage = stages.rbegin(); stage != stages.rend(); ++stage)
    if (stage->index < before_index && stage->name == lower) return &*stage;
  return nullptr;
}

}  // namespace kasane::dockerfile
