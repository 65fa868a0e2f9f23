#include "dockerfile/line_reader.h"

#include <algorithm>

#include "base/text.h"
#include "dockerfile/unicode.h"

namespace kasane::dockerfile {
namespace {

constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

bool is_ascii_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r' && c != '\v'); }

// `#` blanks name blanks `=` blanks value blanks (D02); views into `comment`.
struct DirectiveParts {
  std::string_view name;
  std::string_view value;
};

std::optional<DirectiveParts> split_directive(std::string_view comment) {
  std::string_view text = trim_left(comment.substr(1));
  size_t name_end = 0;
  auto is_name = [&](size_t i) {
    auto c = static_cast<unsigned char>(text[i]);
    return c < 0x80 && (is_letter(c) || (i > 0 && is_digit(c)));
  };
  while (name_end < text.size() && is_name(name_end)) ++name_end;
  if (name_end == 0) return std::nullopt;
  size_t equals = name_end;
  while (equals < text.size() && is_ascii_blank(text[equals])) ++equals;
  if (equals == text.size() || text[equals] != '=') return std::nullopt;
  size_t begin = equals + 1;
  while (begin < text.size() && is_ascii_blank(text[begin])) ++begin;
  size_t end = text.size();
  while (end > begin && is_ascii_blank(text[end - 1])) --end;
  if (begin == end) return std::nullopt;
  return DirectiveParts{text.substr(0, name_end), text.substr(begin, end - begin)};
}

}  // namespace

void LogicalLine::append(std::string_view piece, uint32_t source_begin) {
  if (piece.empty() && !pieces_.empty()) return;
  pieces_.push_back({text_.size(), source_begin});
  text_ += piece;
}

uint32_t LogicalLine::source_offset(size_t text_offset) const {
  if (pieces_.empty()) return 0;
  auto after =
      std::upper_bound(pieces_.begin(), pieces_.end(), text_offset,
                       [](size_t offset, const Piece& piece) { return offset < piece.text_begin; });
  const Piece& piece = after == pieces_.begin() ? pieces_.front() : *std::prev(after);
  return piece.source_begin + static_cast<uint32_t>(text_offset - piece.text_begin);
}

SourceSpan LogicalLine::span(size_t begin, size_t end) const {
  uint32_t first = source_offset(begin);
  uint32_t last = end > begin ? source_offset(end - 1) + 1 : first;
  return {source_, first, last};
}

SourceSpan LogicalLine::span(std::string_view part) const {
  auto begin = static_cast<size_t>(part.data() - text_.data());
  return span(begin, begin + part.size());
}

LineReader::LineReader(std::shared_ptr<const SourceText> source) : source_(std::move(source)) {
  if (source_->text().starts_with(kByteOrderMark)) position_ = kByteOrderMark.size();
}

std::optional<PhysicalLine> LineReader::next_raw_line() {
  std::string_view text = source_->text();
  if (position_ >= text.size()) return std::nullopt;
  size_t newline = text.find('\n', position_);
  size_t end = newline == std::string_view::npos ? text.size() : newline + 1;
  PhysicalLine line;
  line.begin = position_;
  line.raw = text.substr(position_, end - position_);
  line.text = line.raw;
  while (!line.text.empty() && (line.text.back() == '\n' || line.text.back() == '\r'))
    line.text.remove_suffix(1);
  position_ = static_cast<uint32_t>(end);
  return line;
}

SourceSpan LineReader::span_of(std::string_view part) const {
  auto begin = static_cast<uint32_t>(part.data() - source_->text().data());
  return {source_, begin, begin + static_cast<uint32_t>(part.size())};
}

// A line continues when it ends in the escape character, blanks allowed behind it, and the
// character before is not the escape character again (P08).
bool LineReader::strip_continuation(std::string_view& text) const {
  size_t end = text.size();
  while (end > 0 && (text[end - 1] == ' ' || text[end - 1] == '\t')) --end;
  char escape = directives_.escape;
  if (end == 0 || text[end - 1] != escape) return false;
  if (end >= 2 && text[end - 2] == escape) return false;
  text = text.substr(0, end - 1);
  return true;
}

Result<bool> LineReader::read_directive(const PhysicalLine& line, std::string_view stripped) {
  if (!directives_open_) return false;
  directives_open_ = false;
  if (!stripped.starts_with('#')) return false;
  std::optional<DirectiveParts> parts = split_directive(stripped);
  if (!parts) return false;
  Directive directive;
  directive.name = ascii_lower(parts->name);
  if (directive.name != "escape" && directive.name != "syntax" && directive.name != "check")
    return false;
  directive.value = {std::string(parts->value), span_of(parts->value)};
  directive.span = span_of(line.text);
  TRY(set_directive(std::move(directive)));
  directives_open_ = true;
  return true;
}

Result<> LineReader::set_directive(Directive directive) {
  for (const Directive& earlier : directives_.all) {
    if (earlier.name == directive.name)
      return Error(ErrorKind::kInvalid,
                   "only one " + directive.name + " parser directive can be used")
          .at(directive.span);
  }
  const std::string& value = directive.value.text;
  if (directive.name == "escape") {
    if (value != "\\" && value != "`")
      return Error(ErrorKind::kInvalid,
                   "invalid escape token '" + value + "' does not match ` or \\")
          .at(directive.value.span);
    directives_.escape = value[0];
  } else if (directive.name == "syntax") {
    directives_.syntax = directive.value;
  } else {
    directives_.check = directive.value;
  }
  directives_.all.push_back(std::move(directive));
  return {};
}

void LineReader::note_comment(std::string_view stripped) {
  std::string_view text = trim(stripped.substr(1));
  if (text.empty()) {
    comments_.clear();  // a bare `#` separates (P20)
  } else {
    // Each name of an ARG is looked up in them, so their number must not grow with the file.
    constexpr size_t kMaxComments = 1000;
    if (comments_.size() == kMaxComments)
      comments_.erase(comments_.begin(), comments_.begin() + kMaxComments / 2);
    comments_.push_back({std::string(text), span_of(text)});
  }
}

Result<std::optional<RawInstruction>> LineReader::next_instruction() {
  while (std::optional<PhysicalLine> line = next_raw_line()) {
    std::string_view text = trim_left(line->text);
    if (TRY(read_directive(*line, text))) continue;
    if (text.starts_with('#')) {
      note_comment(text);
      continue;
    }
    if (text.empty()) {
      comments_.clear();
      continue;
    }
    RawInstruction out;
    out.line = LogicalLine(source_);
    out.comments = std::exchange(comments_, {});
    bool more = strip_continuation(text);
    out.line.append(text, static_cast<uint32_t>(text.data() - source_->text().data()));
    PhysicalLine last = *line;
    while (more) {
      std::optional<PhysicalLine> next = next_raw_line();
      if (!next) break;
      last = *next;
      std::string_view stripped = trim_left(next->text);
      if (stripped.starts_with('#')) continue;
      if (stripped.empty()) {
        out.empty_continuation = true;
        continue;
      }
      std::string_view piece = next->text;
      more = strip_continuation(piece);
      out.line.append(piece, next->begin);
    }
    out.last_line = span_of(last.text);
    return std::optional<RawInstruction>(std::move(out));
  }
  return std::optional<RawInstruction>();
}

}  // namespace kasane::dockerfile
