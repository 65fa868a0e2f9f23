// RUN.
#include <fmt/format.h>

#include <algorithm>

#include "build/lower/stage.h"
#include "build/source_tree.h"
#include "dockerfile/args.h"
#include "dockerfile/mount.h"

namespace kasane::build {
namespace {

// J05: each declared argument once, at its first position, with its current value.
std::string run_history(const StageState& /*state*/,
                        const std::vector<std::pair<std::string, std::string>>& args,
                        const std::vector<std::string>& argv) {
  std::string text = "RUN";
  if (!args.empty()) {
    text += fmt::format(" |{}", args.size());
    for (const auto& [key, value] : args) text += " " + key + "=" + value;
  }
  return text + " " + join(argv, " ") + " # buildkit";
}

}  // namespace

Result<RunMount> Lowerer::lower_mount(StageState& state, const dockerfile::MountFlag& flag) {
  dockerfile::WordExpander expander = [&](std::string_view value) -> Result<std::string> {
    return expand(state, {std::string(value), flag.csv.span});
  };
  dockerfile::Mount parsed = TRY(dockerfile::parse_mount(flag.csv, expander));
  RunMount mount;
  mount.target = absolute_path(state.image.config.working_dir, parsed.target);
  mount.read_only = parsed.read_only;
  mount.size_bytes = parsed.size_bytes;
  switch (parsed.type) {
    case dockerfile::MountType::kTmpfs:
      mount.type = RunMount::Type::kTmpfs;
      return mount;
    case dockerfile::MountType::kCache:
      if (!parsed.from.empty() || parsed.sharing == dockerfile::CacheSharing::kPrivate) break;
      mount.type = RunMount::Type::kCache;
      mount.cache_id = parsed.id.empty() ? clean_path(parsed.target) : parsed.id;
      mount.mode = parsed.mode.value_or(0755);
      mount.uid = parsed.uid.value_or(0);
      mount.gid = parsed.gid.value_or(0);
      mount.exclusive = parsed.sharing == dockerfile::CacheSharing::kLocked;
      return mount;
    default:
      break;
  }
  return Error(ErrorKind::kUnsupported, "RUN --mount=type=" + std::string(to_string(parsed.type)) +
                                            " in this form is not in this version")
      .at(flag.csv.span)
      .hint("tmpfs mounts and shared or locked cache mounts work");
}

Result<void> Lowerer::lower_one(StageState& state, const dockerfile::Instruction& instruction,
                                const dockerfile::Run& run) {
  RunOp op;
  if (run.command.is_heredoc_script() && run.command.has_shebang()) {  // H09
    op.script = run.command.shell_text();
    op.argv = {"/dev/pipes/" + run.command.heredocs.front().name};
  } else {
    op.argv = with_shell(state, run.command);
  }
  for (const auto& [key, value] : state.env.variables()) op.env.push_back(key + "=" + value);
  for (const std::string& name : dockerfile::proxy_arg_names())  // A10
    if (auto it = options_.build_args.find(name); it != options_.build_args.end() && !state.env.get(name))
      op.proxy_env.push_back(name + "=" + it->second);
  op.cwd = state.image.config.working_dir.empty() ? "/" : state.image.config.working_dir;
  op.user = state.image.config.user;
  if (options_.network) op.network = *options_.network;
  if (run.network == dockerfile::NetworkMode::kNone) op.network = exec::Network::kNone;
  if (run.network == dockerfile::NetworkMode::kHost) op.network = exec::Network::kHost;
  if (run.security == dockerfile::SecurityMode::kInsecure)
    return Error(ErrorKind::kUnsupported, "RUN --security=insecure is not in this version");
  if (!run.devices.empty())
    return Error(ErrorKind::kUnsupported, "RUN --device is not in this version").at(run.devices.front().span);
  for (const dockerfile::MountFlag& flag : run.mounts) op.mounts.push_back(TRY(lower_mount(state, flag)));

  std::vector<std::pair<std::string, std::string>> args;
  for (const StageState::DeclaredArg& arg : state.args) {
    std::string value = state.env.get(arg.key).value_or(arg.value.value_or(""));
    auto known = std::find_if(args.begin(), args.end(), [&](const auto& a) { return a.first == arg.key; });
    if (known == args.end())
      args.emplace_back(arg.key, value);
    else
      known->second = value;
  }
  std::string history = run_history(state, args, op.argv);
  VertexId id = add_vertex(state, &instruction, instruction.original, instruction.span, std::move(op));
  state.history.push_back({std::move(history), false, id});
  return {};
}

}  // namespace kasane::build
