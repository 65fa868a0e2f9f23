// RUN.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>

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

// H12: what a step that is only a script does, in a few words.
std::string summary_of(const std::string& script) {
  size_t begin = std::min(script.find_first_not_of(" \t\r\n"), script.size());
  size_t end = script.find_last_not_of(" \t\r\n");
  std::string_view text = std::string_view(script).substr(begin, end == std::string::npos ? 0 : end + 1 - begin);
  size_t line = text.find('\n');
  if (line == std::string_view::npos) return std::string(text);
  std::string first(text.substr(0, line));
  if (first.ends_with('\r')) first.pop_back();
  return first + "...";
}

}  // namespace

Result<RunMount> Lowerer::lower_mount(StageState& state, const dockerfile::MountFlag& flag,
                                      int& ssh_mounts) {
  dockerfile::WordExpander expander = [&](std::string_view value) -> Result<std::string> {
    return expand(state, {std::string(value), flag.csv.span});
  };
  dockerfile::Mount parsed = TRY(dockerfile::parse_mount(flag.csv, expander));
  RunMount mount;
  mount.type = parsed.type;
  mount.span = flag.csv.span;
  mount.read_only = parsed.read_only;
  mount.size_bytes = parsed.size_bytes;
  mount.sharing = parsed.sharing;
  mount.required = parsed.required;
  mount.uid = parsed.uid.value_or(0);
  mount.gid = parsed.gid.value_or(0);
  mount.id = parsed.id;
  mount.source = clean_path(parsed.source);
  std::string target = parsed.target;
  switch (parsed.type) {
    case dockerfile::MountType::kTmpfs:
      break;
    case dockerfile::MountType::kBind:
      if (!parsed.from.empty()) mount.from = TRY(source_named(state, parsed.from, flag.csv.span, false));
      break;
    case dockerfile::MountType::kCache: {
      mount.mode = parsed.mode.value_or(0755);
      if (mount.id.empty())
        mount.id = (target.starts_with('/') ? "/" : "") + clean_path(target);
      mount.from.kind = SourceRef::Kind::kEmpty;
      mount.has_from = !parsed.from.empty();
      if (mount.has_from) mount.from = TRY(source_named(state, parsed.from, flag.csv.span, false));
      break;
    }
    case dockerfile::MountType::kSecret:
      mount.mode = parsed.mode.value_or(0400);
      if (mount.id.empty()) mount.id = parsed.source;  // RM4: source is another word for id
      mount.source.clear();
      if (mount.id.empty()) mount.id = std::string(base_name(clean_path(target)));
      mount.env = parsed.env.value_or("");
      mount.as_file = !parsed.env || !target.empty();
      if (target.empty()) target = "/run/secrets/" + std::string(base_name(clean_path(mount.id)));
      break;
    case dockerfile::MountType::kSsh:
      mount.mode = parsed.mode.value_or(0600);
      if (mount.id.empty()) mount.id = "default";
      if (target.empty()) target = fmt::format("/run/buildkit/ssh_agent.{}", ssh_mounts);
      ++ssh_mounts;
      break;
  }
  mount.target = absolute_path(state.image.config.working_dir, target);
  if (mount.target == "/" && mount.as_file)
    return Error(ErrorKind::kInvalid, "invalid mount target \"/\": the root cannot be mounted over")
        .at(flag.csv.span);
  return mount;
}

// R07, R08, L16.
Result<void> Lowerer::check_entitlements(const dockerfile::Run& run, const SourceSpan& span) {
  auto refuse = [&](const std::string& name) {
    return Error(ErrorKind::kPermission, name + " is not allowed")
        .at(span)
        .hint("pass --allow " + name + " if you trust this Dockerfile");
  };
  if (run.network == dockerfile::NetworkMode::kHost && !options_.allow_host_network)
    return refuse("network.host");
  if (run.security == dockerfile::SecurityMode::kInsecure && !options_.allow_insecure)
    return refuse("security.insecure");
  if (!run.devices.empty())
    return Error(ErrorKind::kUnsupported, "RUN --device is not in this version").at(run.devices.front().span);
  return {};
}

namespace {

// A10: programs read one spelling or the other, so a value that is given in one is set in both.
std::vector<std::string> proxy_environment(const StageState& state,
                                           const std::map<std::string, std::string>& args) {
  const std::vector<std::string>& names = dockerfile::proxy_arg_names();  // pairs of spellings
  std::vector<std::string> environment;
  for (size_t i = 0; i < names.size(); ++i) {
    auto given = args.find(names[i]);
    if (given == args.end()) given = args.find(names[i ^ 1]);
    if (given != args.end() && !state.env.get(names[i]))
      environment.push_back(names[i] + "=" + given->second);
  }
  return environment;
}

}  // namespace

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
  op.proxy_env = proxy_environment(state, options_.build_args);
  op.cwd = state.image.config.working_dir.empty() ? "/" : state.image.config.working_dir;
  op.user = state.image.config.user;
  op.platform = state.platform;
  TRY(check_entitlements(run, instruction.span));
  if (options_.network) op.network = *options_.network;
  if (run.network == dockerfile::NetworkMode::kNone) op.network = exec::Network::kNone;
  if (run.network == dockerfile::NetworkMode::kHost) op.network = exec::Network::kHost;
  if (run.security == dockerfile::SecurityMode::kInsecure) op.security = exec::Security::kInsecure;
  int ssh_mounts = 0;
  for (const dockerfile::MountFlag& flag : run.mounts)
    op.mounts.push_back(TRY(lower_mount(state, flag, ssh_mounts)));

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
  std::string shown = instruction.original;
  if (run.command.is_heredoc_script()) shown += " (" + summary_of(run.command.heredocs.front().content()) + ")";
  VertexId id = add_vertex(state, &instruction, std::move(shown), instruction.span, std::move(op));
  state.history.push_back({std::move(history), false, id});
  return {};
}

}  // namespace kasane::build
