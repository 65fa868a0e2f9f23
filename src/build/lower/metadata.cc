// Instructions that only change the image configuration, and ARG.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "build/lower/stage.h"
#include "dockerfile/args.h"

namespace kasane::build {
namespace {

// Go's time.Duration.String().
std::string go_duration(int64_t ns) {
  if (ns == 0) return "0s";
  auto fraction = [](int64_t value, int64_t unit) {
    std::string text = std::to_string(value / unit);
    int64_t rest = value % unit;
    if (rest == 0) return text;
    std::string digits = std::to_string(unit + rest).substr(1);
    while (digits.back() == '0') digits.pop_back();
    return text + "." + digits;
  };
  if (ns < 1000) return std::to_string(ns) + "ns";
  if (ns < 1'000'000) return fraction(ns, 1000) + "µs";
  if (ns < 1'000'000'000) return fraction(ns, 1'000'000) + "ms";
  int64_t minutes = ns / 60'000'000'000;
  std::string text;
  if (minutes >= 60) text += std::to_string(minutes / 60) + "h";
  if (minutes > 0) text += std::to_string(minutes % 60) + "m";
  return text + fraction(ns % 60'000'000'000, 1'000'000'000) + "s";
}

std::string health_text(const oci::Healthcheck& health) {
  std::string text = "{Test:[" + join(health.test, " ") + "]";
  auto add = [&](const char* name, int64_t ns) {
    if (ns != 0) text += fmt::format(" {}:{}", name, go_duration(ns));
  };
  add("Interval", health.interval_ns);
  add("Timeout", health.timeout_ns);
  add("StartPeriod", health.start_period_ns);
  add("StartInterval", health.start_interval_ns);
  if (health.retries != 0) text += fmt::format(" Retries:{}", health.retries);
  return text + "}";
}

Result<int> parse_port(std::string_view text, std::string_view whole) {
  int port = -1;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size() || port < 0 || port > 65535)
    return Error(ErrorKind::kInvalid, "invalid containerPort: " + std::string(whole));
  return port;
}

// I03: [ip:[host:]]container[-end][/proto]; only the container part counts.
Result<void> add_ports(std::string_view word, std::set<std::string>& ports) {
  std::string_view rest = word;
  std::string proto = "tcp";
  if (size_t slash = rest.find('/'); slash != std::string_view::npos) {
    proto = std::string(rest.substr(slash + 1));
    std::transform(proto.begin(), proto.end(), proto.begin(), [](unsigned char c) { return std::tolower(c); });
    rest = rest.substr(0, slash);
  }
  if (proto != "tcp" && proto != "udp" && proto != "sctp")
    return Error(ErrorKind::kInvalid, "invalid proto: " + proto);
  if (size_t colon = rest.rfind(':'); colon != std::string_view::npos) rest = rest.substr(colon + 1);
  size_t dash = rest.find('-');
  int first = TRY(parse_port(rest.substr(0, dash), word));
  int last = dash == std::string_view::npos ? first : TRY(parse_port(rest.substr(dash + 1), word));
  if (last < first) return Error(ErrorKind::kInvalid, "invalid containerPort: " + std::string(word));
  for (int port = first; port <= last; ++port) ports.insert(fmt::format("{}/{}", port, proto));
  return {};
}

Result<void> check_signal(std::string_view text, const SourceSpan& span) {
  static const std::set<std::string, std::less<>> known = {
      "HUP",  "INT",  "QUIT",  "ILL",    "TRAP", "ABRT",  "IOT",    "BUS",  "FPE",  "KILL", "USR1",
      "SEGV", "USR2", "PIPE",  "ALRM",   "TERM", "STKFLT", "CHLD",  "CLD",  "CONT", "STOP", "TSTP",
      "TTIN", "TTOU", "URG",   "XCPU",   "XFSZ", "VTALRM", "PROF",  "WINCH", "IO",  "POLL", "PWR",
      "SYS",  "RTMIN", "RTMAX"};
  std::string name(text);
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::toupper(c); });
  std::string_view bare = name;
  if (bare.starts_with("SIG")) bare.remove_prefix(3);
  if (bare.starts_with("RTMIN+") || bare.starts_with("RTMAX-")) bare = bare.substr(0, 5);
  int number = 0;
  auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  bool numeric = error == std::errc() && end == name.data() + name.size() && number > 0 && number < 65;
  if (numeric || known.contains(bare)) return {};
  return Error(ErrorKind::kInvalid, "invalid signal: " + std::string(text)).at(span);
}

}  // namespace

std::vector<std::string> Lowerer::with_shell(const StageState& state,
                                             const dockerfile::CommandLine& line) {
  if (line.is_exec) return line.argv;
  std::vector<std::string> argv =
      state.image.config.shell.value_or(std::vector<std::string>{"/bin/sh", "-c"});
  argv.push_back(line.shell_text());
  return argv;
}

Result<void> Lowerer::lower_one(StageState& state, const dockerfile::Instruction&,
                                const dockerfile::Env& env) {
  // V17: all pairs see the environment from before the instruction.
  std::vector<std::pair<std::string, std::string>> pairs;
  std::string text = "ENV";
  for (const dockerfile::KeyValue& pair : env.pairs) {
    std::string key = TRY(expand(state, pair.key));
    if (key.empty())
      return Error(ErrorKind::kInvalid, "ENV names can not be blank").at(pair.key.span);
    pairs.emplace_back(key, TRY(expand(state, pair.value)));
    text += " " + pairs.back().first + "=" + pairs.back().second;
  }
  for (const auto& [key, value] : pairs) {
    state.env.set(key, value);
    state.image.config.set_env(key, value);
  }
  note(state, std::move(text));
  return {};
}

Result<void> Lowerer::lower_one(StageState& state, const dockerfile::Instruction&,
                                const dockerfile::Label& label) {
  std::vector<std::pair<std::string, std::string>> pairs;
  std::string text = "LABEL";
  for (const dockerfile::KeyValue& pair : label.pairs) {
    std::string key = TRY(expand(state, pair.key));
    if (key.empty())
      return Error(ErrorKind::kInvalid, "LABEL names can not be blank").at(pair.key.span);
    pairs.emplace_back(key, TRY(expand(state, pair.value)));
    text += " " + pairs.back().first + "=" + pairs.back().second;
  }
  for (auto& [key, value] : pairs) state.image.config.labels[key] = value;
  note(state, std::move(text));
  return {};
}

// A02-A07: --build-arg beats the stage's default beats the global value; the default of an
// overridden ARG is never expanded.
Result<void> Lowerer::lower_one(StageState& state, const dockerfile::Instruction&,
                                const dockerfile::Arg& arg) {
  std::string text = "ARG";
  for (const dockerfile::ArgDefinition& definition : arg.args) {
    std::string key = TRY(expand(state, definition.key));
    std::optional<std::string> value;
    if (auto it = options_.build_args.find(key); it != options_.build_args.end())
      value = it->second;
    else if (definition.value)
      value = TRY(expand(state, *definition.value));
    else if (std::optional<std::string> global = global_args_.get(key))
      value = global;
    if (value) state.env.set(key, *value);
    state.args.push_back({key, value});
    text += " " + key;
    if (value) text += "=" + *value;
  }
  note(state, std::move(text));
  return {};
}

Result<void> Lowerer::lower_one(StageState& state, const dockerfile::Instruction&,
                                const dockerfile::Cmd& cmd) {
  std::vector<std::string> argv = with_shell(state, cmd.command);
  note(state, "CMD " + go_quoted_list(argv));
  state.image.config.cmd = std::move(argv);
  state.image.config.args_escaped = true;  // C06
  state.cmd_in_stage = true;
  return {};
}

Result<void> Lowerer::lower_one(StageState& state, const dockerfile::Instruction&,
                                const dockerfile::Entrypoint& entrypoint) {
  std::vector<std::string> argv = with_shell(state, entrypoint.command);
  note(state, "ENTRYPOINT " + go_quoted_list(argv));
  bool empty = entrypoint.command.is_exec && argv.empty();
  state.image.config.entrypoint = empty ? std::nullopt : std::optional(std::move(argv));
  if (!state.cmd_in_stage) state.image.config.cmd.reset();  // C03
  return {};
}

Result<void> Lowerer::lower_one(StageState& state, const dockerfile::Instruction&,
                                const dockerfile::User& user) {
  state.image.config.user = TRY(expand(state, user.user));
  note(state, "USER " + state.image.config.user);
  return {};
}

Result<void> Lowerer::lower_one(StageState& state, const dockerfile::Instruction&,
                                const dockerfile::Expose& expose) {
  std::set<std::string> ports;
  for (const dockerfile::Word& word : expose.ports) {
    Result<dockerfile::WordsExpansion> words =
        dockerfile::expand_words(word.text, state.env, file_.directives.escape);  // V18
    if (!words) return std::move(words.error()).at(word.span);
    for (const std::string& port : words->words)
      if (Result<void> added = add_ports(port, ports); !added)
        return std::move(added.error()).at(word.span);
  }
  for (const std::string& port : ports) state.image.config.exposed_ports.insert(port);
  note(state, "EXPOSE [" + join({ports.begin(), ports.end()}, " ") + "]");
  return {};
}

Result<void> Lowerer::lower_one(StageState& state, const dockerfile::Instruction&,
                                const dockerfile::Volume& volume) {
  std::vector<std::string> paths;
  for (const dockerfile::Word& word : volume.paths) {
    paths.push_back(TRY(expand(state, word)));
    if (paths.back().empty())
      return Error(ErrorKind::kInvalid, "VOLUME specified can not be an empty string").at(word.span);
  }
  for (const std::string& path : paths) state.image.config.volumes.insert(path);
  note(state, "VOLUME [" + join(paths, " ") + "]");
  return {};
}

Result<void> Lowerer::lower_one(StageState& state, const dockerfile::Instruction&,
                                const dockerfile::StopSignal& stop) {
  std::string text = TRY(expand(state, stop.signal));
  TRY(check_signal(text, stop.signal.span));
  state.image.config.stop_signal = text;
  note(state, "STOPSIGNAL " + text);
  return {};
}

Result<void> Lowerer::lower_one(StageState& state, const dockerfile::Instruction&,
                                const dockerfile::Shell& shell) {
  state.image.config.shell = shell.argv;
  note(state, "SHELL [" + join(shell.argv, " ") + "]");
  return {};
}

Result<void> Lowerer::lower_one(StageState& state, const dockerfile::Instruction&,
                                const dockerfile::Healthcheck& check) {
  oci::Healthcheck health;
  if (check.none) {
    health.test = {"NONE"};
  } else if (check.command.is_exec) {
    health.test = {"CMD"};
    health.test.insert(health.test.end(), check.command.argv.begin(), check.command.argv.end());
  } else {
    health.test = {"CMD-SHELL", check.command.text};
  }
  health.interval_ns = check.interval_ns;
  health.timeout_ns = check.timeout_ns;
  health.start_period_ns = check.start_period_ns;
  health.start_interval_ns = check.start_interval_ns;
  health.retries = check.retries;
  note(state, "HEALTHCHECK " + health_text(health));
  state.image.config.healthcheck = std::move(health);
  return {};
}

Result<void> Lowerer::lower_one(StageState& state, const dockerfile::Instruction&,
                                const dockerfile::Onbuild& onbuild) {
  state.image.config.on_build.push_back(onbuild.trigger);  // I12: no history entry
  return {};
}

Result<void> Lowerer::lower_one(StageState& state, const dockerfile::Instruction&,
                                const dockerfile::Maintainer& maintainer) {
  state.image.author = maintainer.name;
  note(state, "MAINTAINER " + maintainer.name);
  return {};
}

}  // namespace kasane::build
