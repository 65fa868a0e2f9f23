// Physical lines to logical lines: directives, comments, continuations, blank lines
// (P01-P10, D01-D04). Internal to the parser.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "dockerfile/ast.h"

namespace kasane::dockerfile {

// One instruction as text, continuation pieces joined, that still knows where each of its
// bytes came from.
class LogicalLine {
 public:
  LogicalLine() = default;
  explicit LogicalLine(std::shared_ptr<const SourceText> source) : source_(std::move(source)) {}

  void append(std::string_view piece, uint32_t source_begin);

  const std::string& text() const { return text_; }
  // Place of text()[begin, end) in the file. An empty range is a point.
  SourceSpan span(size_t begin, size_t end) const;
  // `part` must be a view into text().
  SourceSpan span(std::string_view part) const;
  Word word(std::string_view part) const { return {std::string(part), span(part)}; }

 private:
  struct Piece {
    size_t text_begin;
    uint32_t source_begin;
  };
  uint32_t source_offset(size_t text_offset) const;

  std::shared_ptr<const SourceText> source_;
  std::string text_;
  std::vector<Piece> pieces_;
};

struct PhysicalLine {
  std::string_view text;  // without trailing CR and LF
  std::string_view raw;   // with them
  uint32_t begin = 0;     // offset in the source
};

struct RawInstruction {
  LogicalLine line;
  std::vector<Word> comments;       // directly above
  SourceSpan last_line;             // last physical line
  bool empty_continuation = false;  // a blank line was skipped inside (P09)
};

// Cursor over a source; one pass, linear.
class LineReader {
 public:
  explicit LineReader(std::shared_ptr<const SourceText> source);

  // The next instruction, or nothing at the end of the file. Directives at the top are
  // collected on the way.
  Result<std::optional<RawInstruction>> next_instruction();
  // The next line as it is (heredoc bodies), or nothing at the end of the file.
  std::optional<PhysicalLine> next_raw_line();

  const Directives& directives() const { return directives_; }
  uint32_t position() const { return position_; }

 private:
  // False when the line is no directive and so ends the search.
  Result<bool> read_directive(const PhysicalLine& line, std::string_view stripped);
  Result<> set_directive(Directive directive);
  bool strip_continuation(std::string_view& text) const;
  void note_comment(std::string_view stripped);
  SourceSpan span_of(std::string_view part) const;

  std::shared_ptr<const SourceText> source_;
  uint32_t position_ = 0;
  bool directives_open_ = true;
  Directives directives_;
  std::vector<Word> comments_;
};

}  // namespace kasane::dockerfile
