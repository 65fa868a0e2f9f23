// kasane build (reference dockerfile.md 1.15, 1.20).
#include "build/build.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include "base/diagnostic.h"
#include "cli/build_call.h"
#include "cli/command.h"
#include "cli/signals.h"
#include "oci/platform.h"
#include "ui/progress.h"

namespace kasane::cli {
namespace {

// "K=V"; "K" alone takes the value of the environment, and is left out when unset there.
std::map<std::string, std::string> build_arguments(const Context& context,
                                                   const Arguments& arguments) {
  std::map<std::string, std::string> values;
  for (const std::string& word : arguments.list("build-arg")) {
    size_t equals = word.find('=');
    if (equals != std::string::npos)
      values[word.substr(0, equals)] = word.substr(equals + 1);
    else if (auto value = context.env(word))
      values[word] = *value;
  }
  if (auto epoch = context.env("SOURCE_DATE_EPOCH"))
    values.try_emplace("SOURCE_DATE_EPOCH", *epoch);
  return values;
}

std::map<std::string, std::string> labels_of(const Arguments& arguments) {
  std::map<std::string, std::string> labels;
  for (const std::string& word : arguments.list("label")) {
    size_t equals = word.find('=');
    labels[word.substr(0, equals)] = equals == std::string::npos ? "" : word.substr(equals + 1);
  }
  return labels;
}

Result<std::optional<exec::Network>> network_of(const std::string& word) {
  if (word.empty() || word == "default") return std::optional<exec::Network>();
  if (word == "host") return std::optional(exec::Network::kHost);
  if (word == "none") return std::optional(exec::Network::kNone);
  return Error(ErrorKind::kUnsupported, fmt::format("network mode {} not supported", quote(word)))
      .hint("use default, host or none");
}

Result<void> check_platform(Context& context, const Arguments& arguments) {
  std::string text = arguments.value("platform");
  if (text.empty()) text = context.env("DOCKER_DEFAULT_PLATFORM").value_or("");
  if (text.empty() || text == "local") return {};
  const oci::Platform host = oci::Platform::host();
  if (TRY(oci::Platform::parse(text)) == host) return {};
  return Error(ErrorKind::kUnsupported,
               fmt::format("cannot build for platform {} on {}", text, host.str()))
      .hint("builds for other platforms are not supported yet");
}

// X11: the context must be a directory. "-" is a Dockerfile on stdin with an empty context.
Result<std::string> context_directory(const std::string& path, const std::string& file,
                                      std::optional<TempDir>& empty) {
  if (path == "-") {
    if (file == "-")
      return Error(ErrorKind::kInvalid,
                   "invalid argument: can't use stdin for both build context and dockerfile");
    empty.emplace(TRY(TempDir::make("kasane-context")));
    return empty->path();
  }
  struct stat st;
  if (::stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode)) return path;
  if (path.find("://") != std::string::npos || path.starts_with("git@"))
    return Error(
               ErrorKind::kUnsupported,
               fmt::format(
                   "unable to prepare context: {} is a remote context, which is not supported yet",
                   quote(path)))
        .hint("clone or download it and give the directory");
  return Error(ErrorKind::kNotFound,
               fmt::format("unable to prepare context: path {} not found", quote(path)))
      .hint("the last argument is the directory with the files to copy, often \".\"");
}

Result<build::BuildOptions> options_of(Context& context, const Arguments& arguments,
                                       std::optional<TempDir>& empty) {
  build::BuildOptions options;
  const std::string path = arguments.positional()[0];
  const std::string file = arguments.value("file");
  options.context_dir = TRY(context_directory(path, file, empty));
  if (!file.empty())
    options.dockerfile = file;
  else if (path == "-")
    options.dockerfile = "-";
  options.tags = arguments.list("tag");
  options.target = arguments.value("target");
  options.build_args = build_arguments(context, arguments);
  options.labels = labels_of(arguments);
  options.no_cache = arguments.on("no-cache");
  options.network = TRY(network_of(arguments.value("network")));
  options.iidfile = arguments.value("iidfile");
  TRY(check_platform(context, arguments));
  return options;
}

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

void print_result(Context& context, const Arguments& arguments, const build::BuildResult& result) {
  const bool quiet = arguments.on("quiet") || arguments.value("progress") == "quiet";
  if (arguments.on("explain")) {
    if (quiet)
      context.err(explanation(result));
    else
      context.out(explanation(result));
  }
  if (quiet) context.out(result.image.str() + "\n");
}

Result<int> run_build(Context& context, const Arguments& arguments) {
  std::optional<TempDir> empty;
  auto options = options_of(context, arguments, empty);
  auto mode = progress_mode(context, arguments);
  if (!options || !mode) {
    const Error& error = !options ? options.error() : mode.error();
    print_error(context, error, false);
    return error.exit_status();
  }
  if (const std::string call = build_call(arguments.value("call"), arguments.on("check"));
      !call.empty()) {
    auto status = run_call(context, call, {options->context_dir, options->dockerfile,
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
  ui::ProgressOptions ui_options{context.streams.err, context.streams.err_fd,
                                 !context.env("NO_COLOR")};
  std::unique_ptr<ui::Progress> progress = ui::make_progress(*mode, ui_options);
  EventBus events;
  events.subscribe(progress.get());
  if (arguments.on("pull"))
    events.warn("--pull has no effect: images come from the store, no registry is asked yet");
  auto result = build::build(**opened, *options, events, watcher->token());
  if (result)
    for (const std::string& warning : result->warnings) events.warn(warning);
  progress->finish();
  if (result) {
    print_result(context, arguments, *result);
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

constexpr FlagSpec kFlags[] = {
    {.name = "build-arg",
     .kind = FlagKind::kList,
     .value_name = "stringArray",
     .help = "Set build-time variables: NAME=VALUE, or NAME to take it from\nthe environment"},
    {.name = "call",
     .kind = FlagKind::kString,
     .value_name = "string",
     .help = "Answer instead of building: check, outline or targets;\n"
             "with \",format=json\" for programs",
     .default_text = "build"},
    {.name = "check", .help = "Shorthand for \"--call=check\""},
    {.name = "explain", .help = "Say for each step why it was cached, or which input changed"},
    {.name = "file",
     .shorthand = 'f',
     .kind = FlagKind::kString,
     .value_name = "string",
     .help = "Name of the Dockerfile (default: \"PATH/Dockerfile\"; \"-\": STDIN)"},
    {.name = "force-rm", .help = "Accepted for docker's sake", .hidden = true},
    {.name = "iidfile",
     .kind = FlagKind::kString,
     .value_name = "string",
     .help = "Write the image ID to a file"},
    {.name = "label",
     .kind = FlagKind::kList,
     .value_name = "stringArray",
     .help = "Set metadata for an image"},
    {.name = "load",
     .help = "Accepted for docker's sake: images always go to the store",
     .hidden = true},
    {.name = "network",
     .kind = FlagKind::kString,
     .value_name = "string",
     .help = "Networking mode for the RUN instructions: default, host, none",
     .default_text = "default"},
    {.name = "no-cache", .help = "Do not use cache when building the image"},
    {.name = "platform",
     .kind = FlagKind::kString,
     .value_name = "string",
     .help = "Target platform; only this host's is supported yet"},
    {.name = "progress",
     .kind = FlagKind::kString,
     .value_name = "string",
     .help = "Type of progress output: auto, tty, plain, quiet, rawjson",
     .default_text = "auto"},
    {.name = "pull", .help = "Accepted for docker's sake: no registry is asked yet"},
    {.name = "quiet",
     .shorthand = 'q',
     .help = "Suppress the build output and print image ID on success"},
    {.name = "rm", .help = "Accepted for docker's sake", .default_text = "true", .hidden = true},
    {.name = "tag",
     .shorthand = 't',
     .kind = FlagKind::kList,
     .value_name = "stringArray",
     .help = "Name and optionally a tag (format: \"name:tag\")"},
    {.name = "target",
     .kind = FlagKind::kString,
     .value_name = "string",
     .help = "Set the target build stage to build"},
};
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
        "  ID=$(kasane build -q .)",
    .flags = kFlags,
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_build,
};

}  // namespace kasane::cli
