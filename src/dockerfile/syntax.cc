#include "dockerfile/syntax.h"

#include <functional>

#include "base/text.h"
#include "dockerfile/heredoc.h"
#include "dockerfile/json_array.h"
#include "dockerfile/parser.h"
#include "dockerfile/unicode.h"
#include "dockerfile/words.h"

namespace kasane::dockerfile {
namespace {

constexpr const char* kNotStringsMessage =
    "when using JSON array syntax, arrays must be comprised of strings only";

Error invalid(std::string message) { return Error(ErrorKind::kInvalid, std::move(message)); }

// Splits the text behind the flags into node.args.
class ArgumentReader {
 public:
  ArgumentReader(const LogicalLine& line, char escape, Node& node)
      : line_(line), escape_(escape), node_(node) {}

  Result<> read(const std::string& keyword, std::string_view rest) {
    if (keyword == "run" || keyword == "cmd" || keyword == "entrypoint" || keyword == "shell")
      return command(rest);
    if (keyword == "copy" || keyword == "add" || keyword == "volume") return json_or_words(rest);
    if (keyword == "from" || keyword == "expose") return words(rest);
    if (keyword == "env" || keyword == "label") return pairs(to_upper(keyword), rest);
    if (keyword == "arg") return names(rest);
    if (keyword == "healthcheck") return healthcheck(rest);
    if (keyword == "user" || keyword == "workdir" || keyword == "stopsignal" ||
        keyword == "maintainer")
      return whole(rest);
    return {};  // unknown: only the keyword is kept
  }

 private:
  Result<> whole(std::string_view rest) {
    if (!rest.empty()) node_.args.push_back(line_.word(rest));
    return {};
  }

  Result<> words(std::string_view rest) {
    for (std::string_view word : split_blanks(rest)) node_.args.push_back(line_.word(word));
    return {};
  }

  // True when rest was a JSON array and its strings are in args now.
  Result<bool> json(std::string_view rest) {
    if (!rest.starts_with('[')) return false;
    JsonArray array = parse_json_array(rest);
    if (array.kind == JsonArrayKind::kNotJson) return false;
    if (array.kind == JsonArrayKind::kNotStrings)
      return invalid(kNotStringsMessage).at(line_.span(rest));
    node_.is_json = true;
    for (size_t i = 0; i < array.strings.size(); ++i)
      node_.args.push_back({std::move(array.strings[i]), line_.span(array.literals[i])});
    return true;
  }

  Result<> command(std::string_view rest) {
    if (TRY(json(rest))) return {};
    return whole(rest);
  }

  Result<> json_or_words(std::string_view rest) {
    if (TRY(json(rest))) return {};
    return words(rest);
  }

  Result<> pairs(const std::string& keyword, std::string_view rest) {
    std::vector<QuotedWord> quoted = split_quoted(rest, escape_);
    if (quoted.empty()) return {};
    if (quoted[0].text.find('=') == std::string::npos) {
      BlankCut cut = cut_blanks(rest);
      if (!cut.found) return invalid(keyword + " must have two arguments").at(line_.span(rest));
      node_.legacy_pair = true;
      node_.args.push_back(line_.word(cut.before));
      node_.args.push_back(line_.word(cut.after));
      return {};
    }
    for (QuotedWord& word : quoted) {
      size_t equals = word.text.find('=');
      if (equals == std::string::npos)
        return invalid("Syntax error - can't find = in " + quote(word.text) +
                       ". Must be of the form: name=value")
            .at(line_.span(word.written));
      std::string_view written = word.written;
      size_t cut = written.find('=');
      node_.args.push_back({word.text.substr(0, equals), line_.span(written.substr(0, cut))});
      node_.args.push_back({word.text.substr(equals + 1), line_.span(written.substr(cut + 1))});
    }
    return {};
  }

  Result<> names(std::string_view rest) {
    for (QuotedWord& word : split_quoted(rest, escape_))
      node_.args.push_back({std::move(word.text), line_.span(word.written)});
    return {};
  }

  Result<> healthcheck(std::string_view rest) {
    // Bytes of multi-byte characters are no blanks, whatever their value.
    auto is_blank = [](char c) {
      return static_cast<unsigned char>(c) < 0x80 && is_space(static_cast<unsigned char>(c));
    };
    size_t end = 0;
    while (end < rest.size() && !is_blank(rest[end])) ++end;
    if (end == 0) return {};
    node_.args.push_back(line_.word(rest.substr(0, end)));
    return command(trim_left(rest.substr(end)));
  }

  const LogicalLine& line_;
  char escape_;
  Node& node_;
};

Result<Node> read_node(const LogicalLine& line, std::string_view text, char escape, bool nested) {
  Node node;
  SplitCommand split = split_command(text, escape);
  node.keyword = line.word(split.keyword);
  node.original = std::string(text);
  for (SplitFlag& flag : split.flags)
    node.flags.push_back({std::move(flag.text), line.span(flag.written)});
  node.args_span = line.span(split.rest.empty() ? split.keyword : split.rest);
  std::string keyword = ascii_lower(split.keyword);
  // Only one level deep: ONBUILD ONBUILD is an error anyway, so it need not cost a stack.
  if (keyword == "onbuild" && !nested) {
    if (!split.rest.empty()) {
      node.child = std::make_shared<Node>(TRY(read_node(line, split.rest, escape, true)));
      node.child_text = std::string(split.rest);
    }
    return node;
  }
  TRY(ArgumentReader(line, escape, node).read(keyword, split.rest));
  return node;
}

bool may_hold_heredoc(const Node& node) {
  std::string keyword = ascii_lower(node.keyword.text);
  return (keyword == "run" || keyword == "copy" || keyword == "add") && !node.is_json;
}

// Reads lines up to the terminator (H04). False: the file ended first.
bool read_body(LineReader& reader, Heredoc& heredoc) {
  while (std::optional<PhysicalLine> line = reader.next_raw_line()) {
    std::string_view text = line->text;
    if (heredoc.chomp) text.remove_prefix(std::min(text.find_first_not_of('\t'), text.size()));
    if (text == heredoc.name) return true;
    heredoc.body += line->raw;
  }
  return false;
}

Result<> attach_heredocs(LineReader& reader, const RawInstruction& raw, Node& node) {
  Node& target = node.child ? *node.child : node;
  if (!may_hold_heredoc(target)) return {};
  for (HeredocMark& mark : TRY(find_heredocs(raw.line.text()))) {
    Heredoc heredoc = std::move(mark.heredoc);
    heredoc.span = raw.line.span(mark.begin, mark.end);
    uint32_t begin = reader.position();
    if (!read_body(reader, heredoc)) {
      Error error = invalid("unterminated heredoc");
      if (raw.line.text().find("((") != std::string::npos)
        error = std::move(error).hint(
            "`<<` starts a heredoc here; write a shift as `$((1<<2))`, without blanks");
      else
        error = std::move(error).hint("no line consists of `" + heredoc.name +
                                      "` alone; blanks behind it count");
      return std::move(error).at(heredoc.span);
    }
    heredoc.body_span = {heredoc.span.source, begin, reader.position()};
    node.span.end = reader.position();
    target.heredocs.push_back(std::move(heredoc));
  }
  return {};
}

// The end of a span must not include the line ending of a terminator line.
void trim_line_ending(SourceSpan& span) {
  std::string_view text = span.source->text();
  while (span.end > span.begin && (text[span.end - 1] == '\n' || text[span.end - 1] == '\r'))
    --span.end;
}

Result<Node> read_instruction(LineReader& reader, RawInstruction& raw) {
  SourceSpan whole = raw.line.span(raw.line.text());
  auto node = read_node(raw.line, raw.line.text(), reader.directives().escape, false);
  if (!node) return parse_error(std::move(node.error()), whole);
  node->span = whole;
  node->span.end = std::max(whole.end, raw.last_line.end);
  node->comments = std::move(raw.comments);
  auto attached = attach_heredocs(reader, raw, *node);
  if (!attached) return parse_error(std::move(attached.error()), whole);
  trim_line_ending(node->span);
  return std::move(*node);
}

}  // namespace

Error parse_error(Error error, const SourceSpan& span) {
  int line = span.first_line();
  return std::move(error).at(span).context("dockerfile parse error on line " +
                                           std::to_string(line));
}

Result<SyntaxTree> read_syntax(std::shared_ptr<const SourceText> source) {
  if (source->text().empty()) return invalid("the Dockerfile cannot be empty");
  if (source->text().size() > kMaxDockerfileBytes)
    return Error(ErrorKind::kLimit, source->name() + " is larger than " +
                                        std::to_string(kMaxDockerfileBytes >> 20) + " MiB");
  SyntaxTree tree;
  LineReader reader(source);
  while (true) {
    auto raw = reader.next_instruction();
    if (!raw) {
      SourceSpan span = raw.error().span();
      return parse_error(std::move(raw.error()), span);
    }
    if (!*raw) break;
    if (tree.nodes.size() == kMaxInstructions)
      return Error(ErrorKind::kLimit,
                   "more than " + std::to_string(kMaxInstructions) + " instructions")
          .at((*raw)->last_line);
    if ((*raw)->empty_continuation)
      tree.warnings.push_back(
          {"NoEmptyContinuation", "Empty continuation line", (*raw)->last_line});
    tree.nodes.push_back(TRY(read_instruction(reader, **raw)));
  }
  if (tree.nodes.empty()) return invalid("file with no instructions");
  tree.directives = reader.directives();
  return tree;
}

}  // namespace kasane::dockerfile
