#include "base/source.h"

#include <algorithm>

namespace kasane {

SourceText::SourceText(std::string name, std::string text)
    : name_(std::move(name)), text_(std::move(text)) {
  line_starts_.push_back(0);
  for (uint32_t i = 0; i < text_.size(); ++i)
    if (text_[i] == '\n' && i + 1 < text_.size()) line_starts_.push_back(i + 1);
}

int SourceText::line_of(uint32_t offset) const {
  auto it = std::upper_bound(line_starts_.begin(), line_starts_.end(), offset);
  return static_cast<int>(it - line_starts_.begin());
}

int SourceText::column_of(uint32_t offset) const {
  offset = std::min<uint32_t>(offset, static_cast<uint32_t>(text_.size()));
  return static_cast<int>(offset - line_starts_[line_of(offset) - 1]) + 1;
}

std::string_view SourceText::line(int number) const {
  if (number < 1 || number > line_count()) return {};
  uint32_t begin = line_starts_[number - 1];
  size_t end = text_.find('\n', begin);
  if (end == std::string::npos) end = text_.size();
  std::string_view line(text_.data() + begin, end - begin);
  while (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  return line;
}

int SourceSpan::first_line() const { return source ? source->line_of(begin) : 0; }

int SourceSpan::last_line() const {
  if (!source) return 0;
  return source->line_of(end > begin ? end - 1 : begin);
}

}  // namespace kasane
