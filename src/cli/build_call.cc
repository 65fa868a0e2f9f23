#include "cli/build_call.h"

#include <fmt/format.h>

#include "base/diagnostic.h"
#include "build/dockerfile_input.h"
#include "cli/flags.h"
#include "dockerfile/parser.h"
#include "lint/check.h"
#include "lint/check_report.h"
#include "lint/outline.h"
#include "oci/reference.h"
#include "store/store.h"
#include "transfer/transfer.h"

namespace kasane::cli {
namespace {

using Source = std::shared_ptr<const SourceText>;

struct Call {
  std::string name;
  bool json = false;
  bool ignore_status = false;
};

Error invalid(std::string message) {
  return Error(ErrorKind::kInvalid, std::move(message))
      .hint("use --call=check, outline or targets, with ,format=json to read it by program");
}

Result<void> read_field(std::string_view field, std::string_view whole, Call& call) {
  size_t equals = field.find('=');
  if (equals == std::string_view::npos) {
    if (!call.name.empty()) return invalid(fmt::format("invalid print value: {}", whole));
    call.name = field == "lint" ? "check" : field;
    return {};
  }
  std::string_view key = field.substr(0, equals);
  std::string_view value = field.substr(equals + 1);
  if (key == "format") {
    if (value != "json" && value != "text" && !value.empty())
      return invalid(fmt::format("invalid format {} of --call", quote(value)));
    call.json = value == "json";
  } else if (key == "ignorestatus") {
    std::optional<bool> on = parse_bool(value);
    if (!on) return invalid(fmt::format("invalid ignorestatus print value: {}", value));
    call.ignore_status = *on;
  } else {
    return invalid(fmt::format("invalid print field: {}", field));
  }
  return {};
}

Result<Call> parse_call(std::string_view text) {
  Call call;
  for (size_t position = 0; position <= text.size();) {
    size_t comma = std::min(text.find(',', position), text.size());
    TRY(read_field(text.substr(position, comma - position), text, call));
    position = comma + 1;
  }
  if (call.name == "check" || call.name == "outline" || call.name == "targets") return call;
  return invalid(fmt::format("unknown method {} of --call", quote(call.name)));
}

// The configuration of a base image that is in the store; the store is not opened before.
std::optional<oci::ImageConfig> config_in_store(Context& context, const std::string& image) {
  auto reference = oci::Reference::parse(image);
  if (!reference) return std::nullopt;
  auto store = context.store(true);
  if (!store) return std::nullopt;
  auto id = transfer::find_image(**store, reference->with_default_tag().canonical());
  if (!id) return std::nullopt;
  auto json = (*store)->image_config(*id);
  if (!json) return std::nullopt;
  auto config = oci::ImageConfig::parse(*json);
  if (!config) return std::nullopt;
  return std::move(*config);
}

Result<lint::CheckReport> check(Context& context, const Source& source,
                                const BuildCallInputs& inputs) {
  auto file = dockerfile::parse(source);
  if (!file) {  // an answer as well: the build would fail here
    lint::CheckReport report;
    report.error = std::move(file.error());
    return report;
  }
  build::IgnoreFile ignore;
  if (!inputs.context_dir.empty()) {
    std::string path = TRY(build::find_dockerfile(inputs.context_dir, inputs.dockerfile));
    ignore = TRY(build::read_ignore_file(inputs.context_dir, path));
  }
  lint::CheckInputs checks;
  checks.build_args = inputs.build_args;
  checks.target = inputs.target;
  checks.ignore = &ignore.matcher;
  checks.base_config = [&](const std::string& image) { return config_in_store(context, image); };
  return lint::check_dockerfile(*file, checks);
}

Result<int> run_check(Context& context, const Call& call, const Source& source,
                      const BuildCallInputs& inputs) {
  lint::CheckReport report = TRY(check(context, source, inputs));
  context.out(call.json ? lint::check_json(report, *source) : lint::check_text(report));
  std::optional<Error> error = report.error;
  if (!error) error = lint::lint_violation(report);
  if (!error) return report.findings.empty() || call.ignore_status ? 0 : 1;
  context.flush();
  RenderOptions options;
  options.color = context.streams.err_is_terminal && !context.env("NO_COLOR");
  context.err(render_error(*error, options));
  return error->exit_status();
}

}  // namespace

std::string build_call(const std::string& call, bool check) {
  const bool is_build = call.empty() || call == "build" || call.starts_with("build,");
  if (!is_build) return call;
  return check ? "check" : "";
}

Result<int> run_call(Context& context, const std::string& call_text,
                     const BuildCallInputs& inputs) {
  Call call = TRY(parse_call(call_text));
  std::string path = TRY(build::find_dockerfile(inputs.context_dir, inputs.dockerfile));
  Source source = TRY(build::read_dockerfile(path, context.streams.in_fd, inputs.context_dir));
  if (call.name == "check") return run_check(context, call, source, inputs);

  dockerfile::Dockerfile file = TRY(dockerfile::parse(source));
  if (call.name == "targets") {
    std::vector<lint::Target> targets = lint::targets(file);
    context.out(call.json ? lint::targets_json(targets, *source) : lint::targets_text(targets));
    return 0;
  }
  lint::Outline outline =
      TRY(lint::outline(file, inputs.target, inputs.build_args, oci::Platform::host()));
  context.out(call.json ? lint::outline_json(outline, *source) : lint::outline_text(outline));
  return 0;
}

}  // namespace kasane::cli
