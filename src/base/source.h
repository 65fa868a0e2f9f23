// Text that a user wrote (Dockerfile, .dockerignore, config) and places in it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace kasane {

// Immutable after construction; shared by all spans that point into it.
class SourceText {
 public:
  SourceText(std::string name, std::string text);
  const std::string& name() const { return name_; }  // as shown to the user: "Dockerfile"
  std::string_view text() const { return text_; }
  int line_count() const { return static_cast<int>(line_starts_.size()); }
  // 1-based line and column (bytes) of an offset; offsets past the end clamp.
  int line_of(uint32_t offset) const;
  int column_of(uint32_t offset) const;
  // Line without its line ending; empty when out of range.
  std::string_view line(int number) const;

 private:
  std::string name_;
  std::string text_;
  std::vector<uint32_t> line_starts_;
};

// Half-open byte range [begin, end) of a SourceText. An empty pointer means "nowhere".
struct SourceSpan {
  std::shared_ptr<const SourceText> source;
  uint32_t begin = 0;
  uint32_t end = 0;

  explicit operator bool() const { return source != nullptr; }
  int first_line() const;
  int last_line() const;
};

}  // namespace kasane
