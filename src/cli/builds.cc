#include "cli/builds.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/diagnostic.h"
#include "build/keys.h"
#include "oci/reference.h"
#include "store/store.h"

namespace kasane::cli {
namespace {

using tmpl::Value;

constexpr tmpl::GoType kPartType{"part", tmpl::Kind::kStruct};
constexpr tmpl::GoType kParts{"[]part", tmpl::Kind::kList, &kPartType};
constexpr tmpl::GoType kStepType{"step", tmpl::Kind::kStruct};
constexpr tmpl::GoType kSteps{"[]step", tmpl::Kind::kList, &kStepType};
constexpr tmpl::GoType kBuildType{"build", tmpl::Kind::kStruct};

Value number(uint64_t value) { return Value::integer(static_cast<int64_t>(value)); }

Value parts_value(const store::StepRecord& step) {
  tmpl::List out;
  Result<build::StepKey> key = build::StepKey::from_json(step.key_json);
  if (key)
    for (const auto& [name, value] : key->parts())
      out.push_back(Value::object(
          {{"Name", "name", Value::string(name)}, {"Value", "value", Value::string(value)}},
          kPartType));
  return Value::list(std::move(out), kParts);
}

Value step_value(store::Store& store, const store::BuildRecord& build,
                 const store::StepRecord& step) {
  Result<std::string> log = store::build_log_path(store, build, step);
  return Value::object({{"Name", "name", Value::string(step.name)},
                        {"Cached", "cached", Value::boolean(step.cached)},
                        {"Reason", "reason", Value::string(step.reason)},
                        {"Details", "details", Value::strings(step.details)},
                        {"Key", "key", Value::string(step.key_hex)},
                        {"Parts", "parts", parts_value(step)},
                        {"Scope", "scope", Value::string(step.scope)},
                        {"DurationNs", "duration_ns", number(step.duration_ns)},
                        {"CpuNs", "cpu_ns", number(step.cpu_ns)},
                        {"MaxRssBytes", "max_rss_bytes", number(step.max_rss_bytes)},
                        {"BytesWritten", "bytes_written", number(step.bytes_written)},
                        {"Log", "log", Value::string(log ? *log : "")},
                        {"Error", "error", Value::string(step.error)}},
                       kStepType);
}

}  // namespace

void warn_all(Context& context, const std::vector<std::string>& warnings) {
  for (const std::string& warning : warnings)
    context.err(fmt::format("WARNING: {}\n", sanitize(warning)));
}

// A tag comes before an id that looks like it, as with images.
Result<store::BuildRecord> find_build(Context& context, store::Store& store,
                                      const std::string& text) {
  std::vector<std::string> warnings;
  std::optional<store::BuildRecord> found;
  Result<oci::Reference> reference = oci::Reference::parse(text);
  if (!text.empty() && reference)
    found = TRY(store::last_build_of(store, reference->with_default_tag().canonical(), nullptr));
  if (!found) found = TRY(store::last_build_of(store, text, &warnings));
  warn_all(context, warnings);
  if (found) return std::move(*found);
  if (text.empty())
    return Error(ErrorKind::kNotFound, "No build is recorded yet")
        .hint("`kasane build` records what it does");
  return Error(ErrorKind::kNotFound, "No such build: " + text)
      .hint(fmt::format("`kasane builds ls` shows the builds that are kept (the newest {})",
                        store::kKeptBuilds));
}

std::string tags_text(const store::BuildRecord& build) {
  std::string out;
  for (const std::string& tag : build.tags) out += (out.empty() ? "" : ", ") + oci::familiar(tag);
  return out.empty() ? "<none>" : out;
}

std::string status_text(const store::BuildRecord& build) {
  return build.error.empty() ? "succeeded" : "failed";
}

uint64_t duration_of(const store::BuildRecord& build) {
  return build.finished_ns > build.started_ns
             ? static_cast<uint64_t>(build.finished_ns) - static_cast<uint64_t>(build.started_ns)
             : 0;
}

std::string build_json(store::Store& store, const store::BuildRecord& build) {
  tmpl::List steps;
  for (const store::StepRecord& step : build.steps) steps.push_back(step_value(store, build, step));
  std::vector<std::string> tags;
  for (const std::string& tag : build.tags) tags.push_back(oci::familiar(tag));
  return tmpl::to_json(
      Value::object({{"Id", "id", Value::string(build.id)},
                     {"StartedNs", "started_ns", Value::integer(build.started_ns)},
                     {"FinishedNs", "finished_ns", Value::integer(build.finished_ns)},
                     {"Tags", "tags", Value::strings(tags)},
                     {"Image", "image", Value::string(build.image)},
                     {"Dockerfile", "dockerfile", Value::string(build.dockerfile)},
                     {"Context", "context", Value::string(build.context)},
                     {"Target", "target", Value::string(build.target)},
                     {"Error", "error", Value::string(build.error)},
                     {"FailedStep", "failed_directory",
                      Value::string(store::failed_directory_of(store, build.id).value_or(""))},
                     {"Steps", "steps", Value::list(std::move(steps), kSteps)}},
                    kBuildType),
      false);
}

}  // namespace kasane::cli
