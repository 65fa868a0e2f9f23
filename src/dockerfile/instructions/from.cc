#include "dockerfile/instructions/instructions.h"
#include "base/text.h"
#include "dockerfile/unicode.h"

namespace kasane::dockerfile {
namespace {

// Lower case already: [a-z][a-z0-9-_.]* (F03).
bool is_stage_name(std::string_view name) {
  if (name.empty() || name[0] < 'a' || name[0] > 'z') return false;
  for (char c : name) {
    bool known =
        (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
    if (!known) return false;
  }
  return true;
}

}  // namespace

Result<From> parse_from(const Node& node) {
  const std::vector<Word>& args = node.args;
  From out;
  if (args.size() == 3 && ascii_lower(args[1].text) == "as") {
    if (!is_stage_name(ascii_lower(args[2].text)))
      return Error(ErrorKind::kInvalid, "invalid name for build stage: " + quote(args[2].text) +
                                            ", name can't start with a number or contain symbols")
          .at(args[2].span);
    out.as_keyword = args[1];
    out.name = args[2];
  } else if (args.size() != 1) {
    Error error(ErrorKind::kInvalid, "FROM requires either one or three arguments");
    for (const Word& word : args)
      if (word.text.starts_with('#'))
        error = std::move(error).hint("a comment needs a line of its own");
    return std::move(error).at(args.empty() ? node.keyword.span : node.args_span);
  }
  FlagSet flags = TRY(FlagSet::parse(node, {{"platform", FlagSet::Kind::kString}}));
  out.platform = flags.get("platform");
  out.span = node.span;
  out.original = node.original;
  out.keyword = node.keyword;
  out.image = args[0];
  out.comments = node.comments;
  return out;
}

}  // namespace kasane::dockerfile
