// kasane build (reference dockerfile.md 1.15, 1.20).
#include "build/build.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>

#include "base/diagnostic.h"
#include "cli/build_call.h"
#include "cli/build_options.h"
#include "cli/command.h"
#include "cli/signals.h"
#include "cli/table.h"
#include "cli/units.h"
#include "lint/check_report.h"
#include "oci/platform.h"
#include "ui/progress.h"

namespace kasane::cli {
namespace {

Result<ui::ProgressMode> progress_mode(Context& context, const Arguments& arguments) {
  ui::ProgressMode mode = ui::ProgressMode::kQuiet;
  std::string word = arguments.value("progress");
  if (arguments.on("quiet")) {
    if (word == "auto" || word == "quiet") return mode;
    return Error(ErrorKind::kInvalid,
                 fmt::format("progress={} and quiet cannot be used together", word));
  }
  if (!arguments.given("progress")) word = context.env("BUILDKIT_PROGRESS").value_or(word);
  if (!ui::parse_progress(word, context.streams.err_is_terminal, mode))
    return Error(ErrorKind::kInvalid, fmt::format("invalid progress mode {}", quote(word)))
        .hint("use auto, tty, plain, quiet or rawjson");
  return mode;
}

std::string explanation(const build::BuildResult& result) {
  std::string text;
  for (const build::StepReport& step : result.steps) {
    text += fmt::format("{} {}\n", step.cached ? "CACHED" : "RAN   ", sanitize(step.name));
    text += fmt::format("       {}\n", sanitize(step.reason));
    for (const std::string& detail : step.details)
      text += fmt::format("       {}\n", sanitize(detail));
  }
  return text;
}

void print_error(Context& context, const Error& error, bool solving) {
  RenderOptions options;
  options.color = context.streams.err_is_terminal && !context.env("NO_COLOR");
  options.prefix = solving ? "ERROR: failed to solve: " : "ERROR: ";
  context.err(render_error(error, options));
}

// What each step cost, for --resources.
std::string resources(const build::BuildResult& result) {
  std::string text = "STEP\tTIME\tCPU\tPEAK MEMORY\tWRITTEN\n";
  auto seconds = [](uint64_t ns) { return fmt::format("{:.2f}s", static_cast<double>(ns) / 1e9); };
  auto size = [](uint64_t bytes) { return human_size(static_cast<double>(bytes)); };
  for (const build::StepReport& step : result.steps) {
    bool ran = !step.cached, measured = step.max_rss_bytes != 0;
    text += fmt::format("{}\t{}\t{}\t{}\t{}\n", sanitize(step.name),
                        ran ? seconds(step.duration_ns) : "CACHED", measured ? seconds(step.cpu_ns) : "-",
                        measured ? size(step.max_rss_bytes) : "-", ran ? size(step.bytes_written) : "-");
  }
  return align_table(text);
}

// `stdout_taken`: an output of the build went there, which words would spoil.
void print_result(Context& context, const Arguments& arguments, const build::BuildResult& result,
                  bool stdout_taken) {
  const bool quiet = arguments.on("quiet") || arguments.value("progress") == "quiet";
  if (!quiet && !result.findings.empty())
    context.err("\n" + lint::build_summary(result.findings, context.globals.debug));
  if (arguments.on("resources")) context.err(resources(result));
  if (arguments.on("explain")) {
    if (quiet || stdout_taken)
      context.err(explanation(result));
    else
      context.out(explanation(result));
  }
  if (quiet && !stdout_taken && !result.digest.empty()) context.out(result.digest + "\n");
}

Result<int> run_build(Context& context, const Arguments& arguments) {
  build::SshAgents agents;
  std::vector<std::string> notes;
  auto options = build_options(context, arguments, agents, notes);
  auto mode = progress_mode(context, arguments);
  if (!options || !mode) {
    const Error& error = !options ? options.error() : mode.error();
    print_error(context, error, false);
    return error.exit_status();
  }
  if (const std::string call = build_call(arguments.value("call"), arguments.on("check"));
      !call.empty()) {
    if (options->context == "-" && !options->dockerfile) {  // X04: no context
      options->context.clear();
      options->dockerfile = "-";
    }
    auto status = run_call(context, call, {options->context, options->dockerfile,
                                           options->target, options->build_args});
    if (status) return *status;
    print_error(context, status.error(), false);
    return status.error().exit_status();
  }
  auto opened = context.store(false);
  if (!opened) {
    print_error(context, opened.error(), false);
    return opened.error().exit_status();
  }
  auto watcher = TRY(InterruptWatcher::start());
  options->kill = watcher->kill_token();
  ui::ProgressOptions ui_options{context.streams.err, context.streams.err_fd,
                                 !context.env("NO_COLOR")};
  std::unique_ptr<ui::Progress> progress = ui::make_progress(*mode, ui_options);
  EventBus events;
  events.subscribe(progress.get());
  for (const std::string& note : notes) events.warn(note);
  auto result = build::build(**opened, *options, events, watcher->token());
  if (result)
    for (const std::string& warning : result->warnings) events.warn(warning);
  progress->finish();
  if (result) {
    const bool stdout_taken = std::any_of(options->outputs.begin(), options->outputs.end(),
                                          [](const auto& output) { return output.to_stdout(); });
    print_result(context, arguments, *result, stdout_taken);
    return 0;
  }
  const int signal = watcher->signal();
  if (signal != 0 && result.error().kind() == ErrorKind::kCancelled) {
    context.err("ERROR: failed to solve: Canceled: context canceled\n");
    return 128 + signal;
  }
  print_error(context, result.error(), true);
  return result.error().exit_status();
}

constexpr std::string_view kAliases[] = {"image build", "builder build"};

}  // namespace

extern const Command kCommand_build;
const Command kCommand_build = {
    .path = "build",
    .aliases = kAliases,
    .summary = "Build an image from a Dockerfile",
    .usage = "[OPTIONS] PATH | -",
    .help =
        "PATH is the directory whose files COPY and ADD see. Stages that the target does not\n"
        "need are not built; independent ones are built side by side. Progress goes to\n"
        "STDERR. SOURCE_DATE_EPOCH of the environment becomes a build argument.\n\n"
        "Examples:\n"
        "  kasane build -t app .\n"
        "  kasane build -t app:test --target test --build-arg VERSION=1.2 .\n"
        "  kasane build --explain --progress plain .\n"
        "  kasane build --cache-from reg.example/app/cache --cache-to reg.example/app/cache .\n"
        "  ID=$(kasane build -q .)",
    .flags = build_flags(),
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_build,
};

}  // namespace kasane::cli
