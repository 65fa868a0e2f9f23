// kasane logs: the kept output of the steps of a recorded build.
#include <fmt/format.h>

#include <charconv>

#include "base/diagnostic.h"
#include "cli/builds.h"
#include "cli/command.h"
#include "cli/formatter.h"
#include "store/store.h"

namespace kasane::cli {
namespace {

std::optional<size_t> number_of(const std::string& text) {
  size_t value = 0;
  auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || parsed.ec != std::errc() || parsed.ptr != text.data() + text.size())
    return std::nullopt;
  return value;
}

// By the number that the list shows, or by a part of the name that only it has.
Result<const store::StepRecord*> find_step(const store::BuildRecord& build,
                                           const std::string& text) {
  if (auto number = number_of(text)) {
    if (*number >= 1 && *number <= build.steps.size()) return &build.steps[*number - 1];
    return Error(ErrorKind::kNotFound, fmt::format("build {} has no step {}: it has {}", build.id,
                                                   text, build.steps.size()));
  }
  const store::StepRecord* found = nullptr;
  for (const store::StepRecord& step : build.steps) {
    if (step.name.find(text) == std::string::npos) continue;
    if (found)
      return Error(ErrorKind::kConflict,
                   fmt::format("several steps of build {} have {} in their name", build.id,
                               quote(text)))
          .hint("give its number; `kasane logs " + build.id + "` shows them");
    found = &step;
  }
  if (found) return found;
  return Error(ErrorKind::kNotFound,
               fmt::format("no step of build {} has {} in its name", build.id, quote(text)))
      .hint("`kasane logs " + build.id + "` shows the steps");
}

std::string list_text(store::Store& store, const store::BuildRecord& build) {
  std::string out = fmt::format("Build {} of {}\n", build.id, sanitize(tags_text(build)));
  for (size_t i = 0; i < build.steps.size(); ++i) {
    const store::StepRecord& step = build.steps[i];
    out += fmt::format("{:>3}  {} {}\n", i + 1, step.cached ? "CACHED" : "RAN   ",
                       sanitize(step.name));
    if (auto path = store::build_log_path(store, build, step))
      out += fmt::format("     {}\n", sanitize(*path));
  }
  return out;
}

Result<int> run_logs(Context& context, const Arguments& arguments) {
  store::Store* store = TRY(context.store(true));
  const auto& words = arguments.positional();
  // One word that names no build names a step of the last one.
  Result<store::BuildRecord> build = find_build(context, *store, words.empty() ? "" : words[0]);
  std::string step_text = words.size() == 2 ? words[1] : "";
  if (!build && words.size() == 1 && build.error().kind() == ErrorKind::kNotFound) {
    Result<store::BuildRecord> last = find_build(context, *store, "");
    if (last && (number_of(words[0]) || find_step(*last, words[0]))) {
      build = std::move(last);
      step_text = words[0];
    }
  }
  if (!build) return std::move(build.error());
  if (step_text.empty()) {
    context.out(list_text(*store, *build));
    return 0;
  }
  const store::StepRecord* step = TRY(find_step(*build, step_text));
  if (arguments.on("path")) {
    context.out(TRY(store::build_log_path(*store, *build, *step)) + "\n");
    return 0;
  }
  context.out(for_terminal(context, TRY(store::read_build_log(*store, *build, *step))));
  return 0;
}

constexpr FlagSpec kFlags[] = {
    {.name = "path", .help = "Print the path of the step's log instead of its content"},
};

}  // namespace

extern const Command kCommand_logs;
const Command kCommand_logs = {
    .path = "logs",
    .aliases = {},
    .summary = "Show what the steps of an earlier build printed",
    .usage = "[OPTIONS] [BUILD-ID|TAG] [STEP]",
    .help =
        "Without STEP: the steps of the build (default: the last one) with the files that\n"
        "hold their output. STEP is a number of that list or a part of the step's name.\n\n"
        "Examples:\n"
        "  kasane logs\n"
        "  kasane logs app:1.2 3\n"
        "  kasane logs app:1.2 'RUN make'\n"
        "  less $(kasane logs --path app 3)",
    .flags = kFlags,
    .max_arguments = 2,
    .run = run_logs,
};

}  // namespace kasane::cli
