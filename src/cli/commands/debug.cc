// kasane debug: a shell in the file system of a step that failed.
#include <fmt/format.h>

#include "build/ops/failed_step.h"
#include "cli/builds.h"
#include "cli/command.h"
#include "cli/signals.h"
#include "base/diagnostic.h"
#include "store/build_records.h"
#include "store/store.h"

namespace kasane::cli {
namespace {

// The newest failed build, or the one that was named.
Result<std::string> failed_build(Context& context, store::Store& store, const Arguments& arguments) {
  if (!arguments.value("build").empty()) {
    store::BuildRecord record = TRY(find_build(context, store, arguments.value("build")));
    return std::move(record.id);
  }
  std::vector<store::BuildRecord> records = TRY(store::list_builds(store, store::kKeptBuilds));
  for (const store::BuildRecord& record : records)
    if (store::failed_directory_of(store, record.id)) return record.id;
  return Error(ErrorKind::kNotFound, "no failed step is kept")
      .hint("a RUN that fails leaves its files behind; then this command opens a shell in them");
}

Result<int> run_debug(Context& context, const Arguments& arguments) {
  store::Store* store = TRY(context.store(false));
  TRY(store->hold());
  std::string id = TRY(failed_build(context, *store, arguments));
  build::FailedStep step = TRY(build::open_failed_step(*store, id));
  context.err(fmt::format("Files of {} as it left them. Changes are kept until the next failed builds.\n",
                          sanitize(step.name)));
  for (const std::string& target : step.missing)
    context.err(fmt::format("Not mounted: {}\n", sanitize(target)));
  std::vector<std::string> failed = std::move(step.spec.argv);
  // What a shell was given is the last word; else the words are the command.
  std::string command = failed.size() > 2 && failed[1] == "-c" ? failed.back() : fmt::format("{}", fmt::join(failed, " "));
  context.err(fmt::format("The step was: {}\n", sanitize(command)));
  step.spec.argv = arguments.positional();
  if (step.spec.argv.empty()) step.spec.argv = {"/bin/sh"};
  if (context.streams.in_is_terminal && context.streams.out_is_terminal)
    step.spec.terminal = exec::Terminal{context.streams.in_fd, context.streams.in_fd};
  context.flush();
  auto watcher = TRY(InterruptWatcher::start());
  step.spec.kill = watcher->kill_token();
  std::unique_ptr<exec::Executor> executor = TRY(exec::make_sandbox_executor(store->root(), {}));
  exec::RunOutcome outcome = TRY(executor->run(
      step.spec,
      [&](std::string_view bytes, int stream) { stream == 2 ? context.err(bytes) : context.out(bytes); },
      watcher->token()));
  return outcome.exit_status;
}

constexpr FlagSpec kFlags[] = {
    {.name = "build",
     .kind = FlagKind::kString,
     .value_name = "string",
     .help = "Build ID or tag (default: the newest that failed)"},
};

}  // namespace

extern const Command kCommand_debug;
const Command kCommand_debug = {
    .path = "debug",
    .aliases = {},
    .summary = "Open a shell where a build step failed",
    .usage = "[OPTIONS] [COMMAND [ARG...]]",
    .help =
        "The file system of the step, its variables, user, working directory and mounts are as\n"
        "they were when it failed. Secrets and SSH agents are not kept.\n\n"
        "Examples:\n"
        "  kasane debug\n"
        "  kasane debug -- ls -la /src",
    .flags = kFlags,
    .run = run_debug,
};

}  // namespace kasane::cli
