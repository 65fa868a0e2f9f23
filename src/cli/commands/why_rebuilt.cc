// kasane why-rebuilt: what the steps of a recorded build depended on, and what had changed.
#include <fmt/format.h>

#include "base/diagnostic.h"
#include "build/keys.h"
#include "cli/builds.h"
#include "cli/command.h"
#include "cli/units.h"
#include "store/store.h"
#include "ui/width.h"

namespace kasane::cli {
namespace {

constexpr std::string_view kIndent = "       ";
constexpr size_t kPartColumns = 72;
constexpr size_t kShortHex = 12;

bool is_digest(std::string_view text) {
  if (text.starts_with("sha256:")) text.remove_prefix(7);
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

// Variables by name only, digests short, what repeats another part not at all.
std::string short_parts(const build::StepKey& key) {
  std::string out, variables;
  auto add = [&](std::string_view name, const std::string& value) {
    out += fmt::format("{}{}: {}\n", kIndent, sanitize(name),
                       ui::truncate_columns(sanitize(value), kPartColumns, "…"));
  };
  for (const auto& [name, value] : key.parts()) {
    if (name.starts_with("env "))
      variables += (variables.empty() ? "" : ", ") + name.substr(4);
    else if (name != "kind" && name != "command bytes")
      add(name, is_digest(value) ? truncate_id(value).substr(0, kShortHex) : value);
  }
  if (!variables.empty()) add("variables", variables);
  return out;
}

std::string all_parts(const build::StepKey& key) {
  std::string out;
  for (const auto& [name, value] : key.parts())
    out += fmt::format("{}{}: {}\n", kIndent, sanitize(name), sanitize(value));
  return out;
}

std::string step_text(const store::StepRecord& step, bool verbose) {
  std::string out = fmt::format("{} {}", step.cached ? "CACHED" : "RAN   ", sanitize(step.name));
  if (!step.cached) out += "  " + short_duration(step.duration_ns);
  out += '\n';
  auto line = [&](std::string_view mark, const std::string& text) {
    if (!text.empty()) out += fmt::format("{}{}{}\n", kIndent, mark, sanitize(text));
  };
  if (!step.cached || verbose) line("because: ", step.reason);
  for (const std::string& detail : step.details) line("         ", detail);
  line("error: ", step.error);
  if (verbose && !step.key_hex.empty()) line("key: ", step.key_hex);
  if (step.cached && !verbose) return out;
  if (Result<build::StepKey> key = build::StepKey::from_json(step.key_json))
    out += verbose ? all_parts(*key) : short_parts(*key);
  return out;
}

std::string header(const Context& context, const store::BuildRecord& build) {
  size_t ran = 0;
  for (const store::StepRecord& step : build.steps) ran += !step.cached;
  std::string out = fmt::format("Build {} of {}: {} {} ago in {}, {} of {} steps ran\n", build.id,
                                sanitize(tags_text(build)), status_text(build),
                                human_duration(context.now_ns() - build.finished_ns),
                                short_duration(duration_of(build)), ran, build.steps.size());
  if (!build.image.empty()) out += fmt::format("Image {}\n", sanitize(build.image));
  if (!build.error.empty()) out += fmt::format("Error {}\n", sanitize(build.error));
  return out + "\n";
}

Result<int> run_why(Context& context, const Arguments& arguments) {
  const std::string format = arguments.value("format");
  if (!format.empty() && format != "json")
    return Error(ErrorKind::kInvalid, fmt::format("unknown format {}: use json", quote(format)));
  store::Store* store = TRY(context.store(true));
  const auto& words = arguments.positional();
  const store::BuildRecord build = TRY(find_build(context, *store, words.empty() ? "" : words[0]));
  if (format == "json") {
    context.out(build_json(*store, build) + "\n");
    return 0;
  }
  std::string text = header(context, build);
  for (const store::StepRecord& step : build.steps)
    text += step_text(step, arguments.on("verbose"));
  context.out(text);
  return 0;
}

constexpr FlagSpec kFlags[] = {
    {.name = "format",
     .kind = FlagKind::kString,
     .value_name = "string",
     .help = "'json': one JSON object"},
    {.name = "verbose",
     .shorthand = 'v',
     .help = "Show every part of the keys in full, of cached steps too"},
};

}  // namespace

extern const Command kCommand_why_rebuilt;
const Command kCommand_why_rebuilt = {
    .path = "why-rebuilt",
    .aliases = {},
    .summary = "Tell why the steps of a build ran again",
    .usage = "[OPTIONS] [TAG|BUILD-ID]",
    .help =
        "Shows the last build, or the last one of a tag: which steps were cached, which ran\n"
        "and how long they took, what had changed since the nearest earlier run, and what a\n"
        "step's result depends on. Nothing is built.\n\n"
        "Examples:\n"
        "  kasane why-rebuilt\n"
        "  kasane why-rebuilt app:1.2 --verbose\n"
        "  kasane why-rebuilt --format json app | jq '.steps[] | select(.cached | not)'",
    .flags = kFlags,
    .max_arguments = 1,
    .run = run_why,
};

}  // namespace kasane::cli
