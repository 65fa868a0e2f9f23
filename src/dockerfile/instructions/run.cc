// RUN, CMD, ENTRYPOINT, SHELL.
#include "dockerfile/instructions/instructions.h"
#include "dockerfile/mount.h"
#include "dockerfile/unicode.h"

namespace kasane::dockerfile {
namespace {

Result<NetworkMode> parse_network(const std::optional<Word>& value) {
  if (!value || value->text == "default") return NetworkMode::kDefault;
  if (value->text == "none") return NetworkMode::kNone;
  if (value->text == "host") return NetworkMode::kHost;
  return Error(ErrorKind::kInvalid, "invalid network mode " + quote(value->text) +
                                        suggestion(value->text, {"default", "none", "host"}))
      .at(value->span);
}

Result<SecurityMode> parse_security(const std::optional<Word>& value) {
  if (!value || value->text == "sandbox") return SecurityMode::kSandbox;
  if (value->text == "insecure") return SecurityMode::kInsecure;
  return Error(ErrorKind::kInvalid, "security " + quote(value->text) + " is not valid" +
                                        suggestion(value->text, {"sandbox", "insecure"}))
      .at(value->span);
}

}  // namespace

Result<InstructionValue> parse_run(const Node& node) {
  using Kind = FlagSet::Kind;
  FlagSet flags = TRY(FlagSet::parse(node, {{"mount", Kind::kList},
                                            {"network", Kind::kString},
                                            {"security", Kind::kString},
                                            {"device", Kind::kList}}));
  Run out;
  for (const Word& csv : flags.get_all("mount")) {
    Mount parsed = TRY(parse_mount(csv, nullptr));
    out.mounts.push_back({csv, std::move(parsed)});
  }
  out.network = TRY(parse_network(flags.get("network")));
  out.security = TRY(parse_security(flags.get("security")));
  out.devices = flags.get_all("device");
  out.command = make_command(node, 0);
  return InstructionValue(std::move(out));
}

Result<InstructionValue> parse_cmd(const Node& node) {
  TRY(FlagSet::parse(node, {}));
  return InstructionValue(Cmd{make_command(node, 0)});
}

Result<InstructionValue> parse_entrypoint(const Node& node) {
  TRY(FlagSet::parse(node, {}));
  return InstructionValue(Entrypoint{make_command(node, 0)});
}

Result<InstructionValue> parse_shell(const Node& node) {
  TRY(FlagSet::parse(node, {}));
  if (node.args.empty()) return at_least_one_argument(node, "SHELL");
  if (!node.is_json)
    return Error(ErrorKind::kInvalid, "SHELL requires the arguments to be in JSON form")
        .at(node.args_span);
  return InstructionValue(Shell{make_command(node, 0).argv});
}

}  // namespace kasane::dockerfile
