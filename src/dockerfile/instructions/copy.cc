// COPY and ADD.
#include "dockerfile/instructions/instructions.h"

namespace kasane::dockerfile {
namespace {

using Kind = FlagSet::Kind;

// Words that a heredoc mark covers (`<<EOF`, also `<< EOF`) stand for its body (H11). Words
// and marks are both in the order of the line, so one sweep tells them apart.
Result<> read_paths(const Node& node, std::string_view instruction, CopyBase& out) {
  size_t next = 0;
  for (size_t i = 0; i < node.args.size(); ++i) {
    const Word& word = node.args[i];
    while (next < node.heredocs.size() && node.heredocs[next].span.end <= word.span.begin) ++next;
    bool covered = next < node.heredocs.size() && node.heredocs[next].span.begin < word.span.end;
    bool is_destination = i + 1 == node.args.size();
    if (covered && is_destination)
      return Error(ErrorKind::kInvalid,
                   std::string(instruction) + " cannot accept a heredoc as a destination")
          .at(word.span);
    if (!covered && !is_destination) out.sources.push_back(word);
  }
  out.destination = node.args.back();
  out.inline_files = node.heredocs;
  return {};
}

Result<> read_common(const Node& node, std::string_view instruction, const FlagSet& flags,
                     CopyBase& out) {
  TRY(read_paths(node, instruction, out));
  out.chown = flags.get("chown");
  out.chmod = flags.get("chmod");
  out.link = flags.is_true("link");
  out.excludes = flags.get_all("exclude");
  return {};
}

Result<> check_count(const Node& node, std::string_view instruction) {
  if (node.args.size() >= 2) return {};
  return Error(ErrorKind::kInvalid, std::string(instruction) +
                                        " requires at least two arguments, but only one was "
                                        "provided. Destination could not be determined")
      .at(node.args.empty() ? node.keyword.span : node.args_span);
}

}  // namespace

Result<InstructionValue> parse_copy(const Node& node) {
  TRY(check_count(node, "COPY"));
  FlagSet flags = TRY(FlagSet::parse(node, {{"chown", Kind::kString},
                                            {"from", Kind::kString},
                                            {"chmod", Kind::kString},
                                            {"link", Kind::kBool},
                                            {"exclude", Kind::kList},
                                            {"parents", Kind::kBool}}));
  Copy out;
  TRY(read_common(node, "COPY", flags, out));
  out.parents = flags.is_true("parents");
  out.from = flags.get("from");
  return InstructionValue(std::move(out));
}

Result<InstructionValue> parse_add(const Node& node) {
  TRY(check_count(node, "ADD"));
  FlagSet flags = TRY(FlagSet::parse(node, {{"chown", Kind::kString},
                                            {"chmod", Kind::kString},
                                            {"link", Kind::kBool},
                                            {"keep-git-dir", Kind::kBool},
                                            {"checksum", Kind::kString},
                                            {"unpack", Kind::kBool},
                                            {"exclude", Kind::kList}}));
  Add out;
  TRY(read_common(node, "ADD", flags, out));
  out.checksum = flags.get("checksum");
  out.keep_git_dir = flags.get_bool("keep-git-dir");
  out.unpack = flags.get_bool("unpack");
  return InstructionValue(std::move(out));
}

}  // namespace kasane::dockerfile
