// Instructions that only change the image config or the state of the stage: WORKDIR, USER,
// EXPOSE, VOLUME, STOPSIGNAL, MAINTAINER.
#include <algorithm>

#include "dockerfile/instructions/instructions.h"
#include "dockerfile/unicode.h"

namespace kasane::dockerfile {
namespace {

Result<Word> single_word(const Node& node, std::string_view instruction) {
  if (node.args.size() != 1) return exactly_one_argument(node, instruction);
  return node.args[0];
}

}  // namespace

Result<InstructionValue> parse_workdir(const Node& node) {
  Word path = TRY(single_word(node, "WORKDIR"));
  TRY(FlagSet::parse(node, {}));
  return InstructionValue(Workdir{std::move(path)});
}

Result<InstructionValue> parse_user(const Node& node) {
  Word user = TRY(single_word(node, "USER"));
  TRY(FlagSet::parse(node, {}));
  return InstructionValue(User{std::move(user)});
}

Result<InstructionValue> parse_expose(const Node& node) {
  if (node.args.empty()) return at_least_one_argument(node, "EXPOSE");
  TRY(FlagSet::parse(node, {}));
  Expose out{node.args};
  std::stable_sort(out.ports.begin(), out.ports.end(),
                   [](const Word& a, const Word& b) { return a.text < b.text; });
  return InstructionValue(std::move(out));
}

Result<InstructionValue> parse_volume(const Node& node) {
  if (node.args.empty()) return at_least_one_argument(node, "VOLUME");
  TRY(FlagSet::parse(node, {}));
  Volume out;
  for (const Word& word : node.args) {
    std::string path(trim(word.text));
    if (path.empty())
      return Error(ErrorKind::kInvalid, "VOLUME specified can not be an empty string")
          .at(word.span);
    out.paths.push_back({std::move(path), word.span});
  }
  return InstructionValue(std::move(out));
}

// Flags are not looked at: BuildKit drops them silently, parser.cc warns (P14).
Result<InstructionValue> parse_stopsignal(const Node& node) {
  return InstructionValue(StopSignal{TRY(single_word(node, "STOPSIGNAL"))});
}

Result<InstructionValue> parse_maintainer(const Node& node) {
  Word name = TRY(single_word(node, "MAINTAINER"));
  TRY(FlagSet::parse(node, {}));
  return InstructionValue(Maintainer{std::move(name.text)});
}

}  // namespace kasane::dockerfile
