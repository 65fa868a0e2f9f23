#include "base/diagnostic.h"

#include <fmt/format.h>

#include <algorithm>

namespace kasane {
namespace {

constexpr std::string_view kRule = "--------------------\n";

std::string caret_line(const SourceSpan& span, int line_number) {
  const SourceText& source = *span.source;
  std::string_view line = source.line(line_number);
  int column = line_number == span.first_line() ? source.column_of(span.begin) : 1;
  int last = static_cast<int>(line.size());
  if (line_number == span.last_line() && span.end > span.begin)
    last = std::min(last, source.column_of(span.end - 1));
  std::string text = "     |     ";
  for (int i = 1; i < column && i <= static_cast<int>(line.size()); ++i)
    text += line[i - 1] == '\t' ? '\t' : ' ';
  text += '^';
  if (last > column) text.append(last - column, '~');
  return text + '\n';
}

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      size_t cost = std::tolower(static_cast<unsigned char>(a[i - 1])) ==
                            std::tolower(static_cast<unsigned char>(b[j - 1]))
                        ? 0
                        : 1;
      size_t next = std::min({row[j] + 1, row[j - 1] + 1, diagonal + cost});
      diagonal = row[j];
      row[j] = next;
    }
  }
  return row[b.size()];
}

}  // namespace

std::string render_excerpt(const SourceSpan& span) {
  if (!span) return {};
  const int first = span.first_line();
  const int last = span.last_line();
  const int pad = first == last ? 2 : 1;
  std::string text = fmt::format("{}:{}\n", sanitize(span.source->name()), first);
  text += kRule;
  const int from = std::max(1, first - pad);
  const int to = std::min(span.source->line_count(), last + pad);
  for (int n = from; n <= to; ++n) {
    bool blamed = n >= first && n <= last;
    text += fmt::format(" {:3d} | {} {}\n", n, blamed ? ">>>" : "   ",
                        sanitize(span.source->line(n)));
    if (blamed && first == last) text += caret_line(span, n);
  }
  text += kRule;
  return text;
}

std::string render_error(const Error& error, const RenderOptions& options) {
  std::string text = render_excerpt(error.span());
  const char* on = options.color ? "\x1b[31m" : "";
  const char* off = options.color ? "\x1b[0m" : "";
  text += fmt::format("{}{}{}{}\n", on, options.prefix, off, sanitize(error.full_message(), true));
  if (!error.hint_text().empty()) text += fmt::format("hint: {}\n", sanitize(error.hint_text(), true));
  return text;
}

namespace {

// Length of a character that is no letter but an order to a terminal: controls of C1 (which
// some take for escape sequences) and marks that reverse the direction of text. 0: none.
size_t steering_length(std::string_view text) {
  auto at = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  if (at(0) == 0xc2 && at(1) >= 0x80 && at(1) < 0xa0) return 2;
  const bool embedding = at(1) == 0x80 && at(2) >= 0xaa && at(2) <= 0xae;  // U+202A-202E
  const bool isolate = at(1) == 0x81 && at(2) >= 0xa6 && at(2) <= 0xa9;    // U+2066-2069
  return at(0) == 0xe2 && (embedding || isolate) ? 3 : 0;
}

}  // namespace

std::string sanitize(std::string_view text, bool allow_newline) {
  std::string out;
  out.reserve(text.size());
  size_t steering = 0;  // bytes left of such a character
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (steering == 0 && (c == 0xc2 || c == 0xe2)) steering = steering_length(text.substr(i));
    bool plain = (c >= 0x20 && c != 0x7f) || c == '\t' || (allow_newline && c == '\n');
    if (plain && steering == 0)
      out += static_cast<char>(c);
    else
      out += fmt::format("\\x{:02x}", c);
    if (steering > 0) --steering;
  }
  return out;
}

std::string nearest_name(std::string_view word, const std::vector<std::string>& candidates) {
  std::string best;
  size_t best_distance = word.size() <= 3 ? 2 : 3;  // exclusive bound
  for (const std::string& candidate : candidates) {
    size_t distance = edit_distance(word, candidate);
    if (distance < best_distance) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

}  // namespace kasane
