#include "cli/main.h"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>

#include "base/diagnostic.h"
#include "cli/command.h"
#include "cli/formatter.h"
#include "cli/help.h"

namespace kasane::cli {
namespace {

constexpr int kExitPipe = 128 + SIGPIPE;

// A handler instead of SIG_IGN: an ignored signal would stay ignored in RUN steps.
void ignore_signal(int) {}

void prepare_signals() {
  struct sigaction action = {};
  action.sa_handler = ignore_signal;
  action.sa_flags = SA_RESTART;
  sigaction(SIGPIPE, &action, nullptr);
  // Whoever started us may ignore SIGCHLD, and then no child of ours could be waited for; or
  // block what ends us.
  action.sa_handler = SIG_DFL;
  sigaction(SIGCHLD, &action, nullptr);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

void print_error(Context& context, const Error& error, std::string prefix) {
  RenderOptions options;
  options.prefix = error.message().starts_with(kTemplateError) ? "" : std::move(prefix);
  context.err(render_error(error, options));
  if (!context.globals.debug) return;
  context.err(fmt::format("debug: error kind {}, errno {}, {} frames\n",
                          static_cast<int>(error.kind()), error.errno_value(),
                          error.contexts().size()));
}

struct Resolved {
  const Command* command = nullptr;
  std::string invoked_as;
  size_t words = 0;
  std::string_view group;  // set when only a group was named
};

Resolved resolve(std::span<const std::string> words) {
  Resolved result;
  if (words.size() >= 2 && is_group(words[0])) {
    std::string path = words[0] + " " + words[1];
    if (const Command* command = find_command(path)) return {command, "kasane " + path, 2, {}};
  }
  if (const Command* command = find_command(words[0]))
    return {command, "kasane " + words[0], 1, {}};
  if (is_group(words[0])) result.group = words[0];
  return result;
}

int run_group(std::string_view group, std::span<const std::string> words, Context& context) {
  if (words.size() > 1 && words[1][0] != '-' && words[1] != "help") {
    context.err(unknown_command(words[0] + " " + words[1]));
    return 1;
  }
  context.out(group_help(group));
  return 0;
}

int run_found(const Resolved& found, std::span<const std::string> words, Context& context) {
  const Command& command = *found.command;
  context.invoked_as = found.invoked_as;
  // --root and -D are accepted behind the command too; -v would hide nothing there.
  auto parsed = parse_flags(words, command.flags, kGlobalFlags.first(2),
                            {.stop_at_argument = command.runs_program});
  if (!parsed) {
    const Error& error = parsed.error();
    std::string text = sanitize(error.message());
    if (!error.hint_text().empty()) text += " (" + sanitize(error.hint_text()) + ")";
    context.err(text + usage_tail(command, found.invoked_as));
    return error.exit_status();
  }
  if (parsed->help) {
    context.out(command_help(command, found.invoked_as));
    return 0;
  }
  const Arguments& arguments = parsed->arguments;
  if (arguments.given("root")) context.globals.root = arguments.value("root");
  if (arguments.on("debug")) context.globals.debug = true;
  std::string count =
      argument_count_error(command, found.invoked_as, arguments.positional().size());
  if (!count.empty()) {
    context.err(count);
    return 1;
  }
  auto status = command.run(context, arguments);
  if (status) return *status;
  print_error(context, status.error(), "Error: ");
  return status.error().exit_status();
}

}  // namespace

int run_command_line(std::span<const std::string> words, Context& context) {
  auto globals = parse_flags(words, kGlobalFlags, {}, {.interspersed = false});
  if (!globals) {
    context.err(globals.error().message() +
                "\n\nUsage:  kasane [OPTIONS] COMMAND [ARG...]\n\n"
                "Run 'kasane --help' for more information\n");
    return globals.error().exit_status();
  }
  const Arguments& flags = globals->arguments;
  if (flags.given("root")) context.globals.root = flags.value("root");
  if (flags.given("config")) context.globals.config = flags.value("config");
  context.globals.debug =
      context.globals.debug || flags.on("debug") || flags.value("log-level") == "debug";
  if (flags.on("version")) {
    context.out("kasane version " KASANE_VERSION "\n");
    return 0;
  }
  words = words.subspan(globals->consumed);
  if (globals->help || words.empty()) {
    context.out(root_help());
    return 0;
  }
  Resolved found = resolve(words);
  if (found.command) return run_found(found, words.subspan(found.words), context);
  if (!found.group.empty()) return run_group(found.group, words, context);
  context.err(unknown_command(words[0]));
  return 1;
}

int run(int argc, char** argv) {
  prepare_signals();
  BufferedFdSink out(STDOUT_FILENO, "write standard output");
  FdSink err(STDERR_FILENO, "write standard error");
  Streams streams;
  streams.out = &out;
  streams.flush_out = [&out] { return out.flush(); };
  streams.err = &err;
  streams.in_is_terminal = isatty(STDIN_FILENO);
  streams.out_is_terminal = isatty(STDOUT_FILENO);
  streams.err_is_terminal = isatty(STDERR_FILENO);
  streams.out_fd = STDOUT_FILENO;
  streams.err_fd = STDERR_FILENO;
  Context context(streams, {});
  std::vector<std::string> words(argv + (argc > 0 ? 1 : 0), argv + argc);
  int status = run_command_line(words, context);
  std::optional<Error> failed = context.out_error();
  if (auto flushed = out.flush(); !flushed && !failed) failed = flushed.error();
  if (!failed) return status;
  if (failed->errno_value() == EPIPE) return status != 0 ? status : kExitPipe;
  print_error(context, *failed, "Error: ");
  return status != 0 ? status : 1;
}

}  // namespace kasane::cli
