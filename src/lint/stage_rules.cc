#include "lint/stage_rules.h"

#include <algorithm>
#include <charconv>

#include "base/text.h"
#include "oci/reference.h"

namespace kasane::lint {
namespace {

// Go's %q for the text of messages.
std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

// One of the words between underscores is in `words` (A18).
template <size_t N>
bool has_word(std::string_view name, const std::string_view (&words)[N]) {
  std::string text = ascii_lower(name);
  std::string_view rest = text;
  while (true) {
    size_t underscore = rest.find('_');
    if (std::find(std::begin(words), std::end(words), rest.substr(0, underscore)) !=
        std::end(words))
      return true;
    if (underscore == std::string_view::npos) return false;
    rest.remove_prefix(underscore + 1);
  }
}

constexpr std::string_view kSecretWords[] = {"apikey", "auth",  "credential", "credentials",
                                             "key",    "pword", "password",   "passwd",
                                             "secret", "token"};
constexpr std::string_view kHarmlessWords[] = {"public", "file", "version"};

bool is_absolute(std::string_view path) {
  if (path.starts_with('/')) return true;
  return path.size() > 2 && path[1] == ':' && (path[2] == '/' || path[2] == '\\');  // Windows
}

bool is_remote(std::string_view source) {
  for (std::string_view scheme : {"http://", "https://", "git://", "ssh://", "git@"})
    if (source.starts_with(scheme)) return true;
  return false;
}

// Go's filepath.Clean, and without the leading slash: a source starts at the context's root.
std::string clean_source(std::string_view path) {
  std::vector<std::string_view> parts;
  for (size_t position = 0; position <= path.size();) {
    size_t slash = std::min(path.find('/', position), path.size());
    std::string_view part = path.substr(position, slash - position);
    position = slash + 1;
    if (part.empty() || part == ".") continue;
    if (part != "..")
      parts.push_back(part);
    else if (!parts.empty())
      parts.pop_back();  // clamped at the root (K22)
  }
  std::string out;
  for (std::string_view part : parts) {
    if (!out.empty()) out += '/';
    out += part;
  }
  return out;
}

struct Port {
  std::string_view ip, host, container, proto;
};

Port split_port(std::string_view text) {
  Port port;
  port.container = text;
  if (size_t colon = text.rfind(':'); colon != std::string_view::npos) {
    port.container = text.substr(colon + 1);
    port.host = text.substr(0, colon);
    if (size_t second = port.host.rfind(':'); second != std::string_view::npos) {
      port.ip = port.host.substr(0, second);
      port.host = port.host.substr(second + 1);
    }
  }
  if (size_t slash = port.container.find('/'); slash != std::string_view::npos) {
    port.proto = port.container.substr(slash + 1);
    port.container = port.container.substr(0, slash);
  }
  return port;
}

bool is_port_range(std::string_view text) {
  size_t dash = text.find('-');
  auto number = [](std::string_view digits) {
    int value = -1;
    auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    return error == std::errc() && end == digits.data() + digits.size() && value <= 65535 ? value
                                                                                          : -1;
  };
  int first = number(text.substr(0, dash));
  int last = dash == std::string_view::npos ? first : number(text.substr(dash + 1));
  return first >= 0 && last >= first;
}

}  // namespace

void check_default_base_names(const dockerfile::Dockerfile& file, const EvaluateInputs& inputs,
                              Findings& findings) {
  auto global = evaluate_global_args(file, inputs, nullptr);
  if (!global) return;  // the evaluation proper will say so, unless --build-arg helps
  for (const dockerfile::Stage& stage : file.stages) {
    const std::string& written = stage.from.image.text;
    auto name = dockerfile::expand_word(written, global->env, file.directives.escape);
    if (!name) return;
    if (oci::Reference::parse(name->value)) continue;
    findings.add(
        "InvalidDefaultArgInFrom", stage.from.span, stage.from.comments,
        "Default value for ARG " + written + " results in empty or invalid base image name");
  }
}

void check_ignored_source(const dockerfile::IgnoreMatcher& ignore, const Step& step,
                          const std::string& source, std::string_view verb, Findings& findings) {
  // With exceptions a folder may be excluded and a file in it not: no verdict without the files.
  const auto& patterns = ignore.patterns();
  if (std::any_of(patterns.begin(), patterns.end(), [](const auto& p) { return p.negated; }))
    return;
  std::string path = clean_source(source);
  const dockerfile::IgnorePattern* deciding = nullptr;
  if (path.empty()) {  // the root: only what excludes everything counts
    path = ".";
    auto all = std::find_if(patterns.begin(), patterns.end(), [](const auto& p) {
      return p.text == "*" || p.text == "**" || p.text == "**/*";
    });
    if (all != patterns.end()) deciding = &*all;
  } else {
    deciding = ignore.deciding(path);
  }
  if (!deciding) return;
  std::string note;
  if (deciding->line > 0 && deciding->span)
    note = "excluded by " + deciding->span.source->name() + " line " +
           std::to_string(deciding->line) + ": " + deciding->text;
  findings.add("CopyIgnoredFile", step.span, step.instruction.comments,
               "Attempting to " + std::string(verb) + " file " + quoted(path) +
                   " that is excluded by .dockerignore",
               std::move(note));
}

StageRules::StageRules(const dockerfile::Dockerfile& file, const dockerfile::IgnoreMatcher* ignore,
                       Findings& findings)
    : ignore_(ignore), findings_(findings) {
  auto declare = [&](const dockerfile::Arg& arg) {
    for (const dockerfile::ArgDefinition& one : arg.args) file_names_.push_back(one.key.text);
  };
  for (const dockerfile::MetaArg& meta : file.meta_args) declare(meta.arg);
  for (const dockerfile::Stage& stage : file.stages) {
    for (const dockerfile::Instruction& instruction : stage.instructions) {
      if (const auto* arg = std::get_if<dockerfile::Arg>(&instruction.value)) declare(*arg);
      if (const auto* env = std::get_if<dockerfile::Env>(&instruction.value))
        for (const dockerfile::KeyValue& pair : env->pairs) file_names_.push_back(pair.key.text);
    }
  }
  std::sort(file_names_.begin(), file_names_.end());
}

void StageRules::add(const Step& step, std::string_view rule, std::string message,
                     std::string note) {
  findings_.add(rule, step.span, step.instruction.comments, std::move(message), std::move(note));
}

void StageRules::undeclared(const dockerfile::Stage& stage, const std::set<std::string>& names,
                            const GlobalScope& global) {
  if (names.empty()) return;
  std::vector<std::string> known;
  if (findings_.may_suggest()) {
    known = global.env.names();
    for (const auto& [name, arg] : global.declared)
      if (!arg.value) known.push_back(name);
  }
  for (const std::string& name : names) {
    if (global.declared.contains(name) || global.env.get(name)) continue;
    std::string near = findings_.suggest(name, known);
    findings_.add("UndefinedArgInFrom", stage.from.span, stage.from.comments,
                  "FROM argument '" + name + "' is not declared" +
                      (near.empty() ? "" : " (did you mean " + near + "?)"));
  }
}

void StageRules::on_from(const dockerfile::Stage& stage, const FromValues& values,
                         const GlobalScope& global) {
  const dockerfile::From& from = stage.from;
  undeclared(stage, values.image.unmatched, global);
  if (values.image.value.empty() || !values.platform) return;
  const dockerfile::Expansion& platform = *values.platform;
  undeclared(stage, platform.unmatched, global);

  const bool only_target = platform.matched == std::set<std::string>{"TARGETPLATFORM"};
  if (only_target && platform.unmatched.empty() &&
      global.env.get("TARGETPLATFORM") == platform.value)
    findings_.add("RedundantTargetPlatform", from.span, from.comments,
                  "Setting platform to predefined " + from.platform->text +
                      " in FROM is redundant as this is the default behavior");

  if (!platform.matched.empty() || !platform.unmatched.empty()) return;
  Result<oci::Platform> parsed = oci::Platform::parse(platform.value);
  if (!parsed) return;
  // A stage whose name tells its platform has it on purpose.
  if (stage.name.find(parsed->os) != std::string::npos ||
      stage.name.find(parsed->architecture) != std::string::npos)
    return;
  findings_.add("FromPlatformFlagConstDisallowed", from.span, from.comments,
                "FROM --platform flag should not use constant value " + quoted(platform.value));
}

void StageRules::on_base_image(const dockerfile::Stage& stage, const std::string& image,
                               const oci::Platform& expected, const oci::ImageConfig& config) {
  if (config.os == expected.os && config.architecture == expected.architecture) return;
  oci::Platform actual;
  actual.os = config.os;
  actual.architecture = config.architecture;
  actual.variant = config.variant;
  actual.os_version = config.os_version;
  findings_.add("InvalidBaseImagePlatform", stage.from.span, stage.from.comments,
                "Base image " + image + " was pulled with platform " +
                    quoted(actual.normalized().str()) + ", expected " +
                    quoted(expected.normalized().str()) + " for current build");
}

void StageRules::on_undefined(const Step& step, const std::set<std::string>& names,
                              const StageScope& scope) {
  std::vector<std::string> known;
  if (findings_.may_suggest()) known = scope.env.names();
  std::string note;
  if (!scope.unknown_base.empty())
    note = "the variables of " + scope.unknown_base + " are not known here";
  for (const std::string& name : names) {
    if (!scope.unknown_base.empty() && !is_likely_mistake(step, name)) continue;
    std::string near = findings_.suggest(name, known);
    add(step, "UndefinedVar",
        "Usage of undefined variable '$" + name + "'" +
            (near.empty() ? "" : " (did you mean $" + near + "?)"),
        note);
  }
}

// Of a variable that an image of unknown configuration may define: a name that the file itself
// declares elsewhere, or nearly so, or in lower case, as hardly any image's variable is. In the
// corpus of real files all others come from the image.
bool StageRules::is_likely_mistake(const Step& step, const std::string& name) {
  if (name.find_first_of("abcdefghijklmnopqrstuvwxyz") != std::string::npos) return true;
  auto [first, last] = std::equal_range(file_names_.begin(), file_names_.end(), name);
  if (first == last) return !findings_.suggest(name, file_names_).empty();
  // `ENV P=$P:/x` adds to what the image has.
  std::ptrdiff_t here = 0;
  if (const auto* env = std::get_if<dockerfile::Env>(&step.instruction.value))
    here = std::count_if(env->pairs.begin(), env->pairs.end(),
                         [&](const auto& pair) { return pair.key.text == name; });
  return last - first > here;
}

Result<void> StageRules::on_step(const Step& step, const StageScope& scope,
                                 const StepValues& values) {
  if (step.stage.index != stage_) {
    stage_ = step.stage.index;
    used_.clear();
  }
  const dockerfile::InstructionValue& value = step.instruction.value;
  const std::string& keyword = step.instruction.keyword.text;
  auto legacy = [&] {
    add(step, "LegacyKeyValueFormat",
        "\"" + keyword + " key=value\" should be used instead of legacy \"" + keyword +
            " key value\" format");
  };
  if (const auto* env = std::get_if<dockerfile::Env>(&value)) {
    if (env->legacy_form) legacy();
    for (const std::string& name : values.words) check_secret(step, "ENV", name);
  } else if (const auto* label = std::get_if<dockerfile::Label>(&value)) {
    if (label->legacy_form) legacy();
  } else if (std::holds_alternative<dockerfile::Arg>(value)) {
    for (const ArgValue& arg : values.args) check_secret(step, "ARG", arg.name);
  } else if (const auto* cmd = std::get_if<dockerfile::Cmd>(&value)) {
    check_command(step, scope, !cmd->command.is_exec);
  } else if (const auto* entrypoint = std::get_if<dockerfile::Entrypoint>(&value)) {
    check_command(step, scope, !entrypoint->command.is_exec);
  } else if (std::holds_alternative<dockerfile::Healthcheck>(value)) {
    used_once(step);
  } else if (std::holds_alternative<dockerfile::Workdir>(value)) {
    if (!scope.workdir_set && !is_absolute(values.words[0]) && !values.uncertain)
      add(step, "WorkdirRelativePath",
          "Relative workdir " + quoted(values.words[0]) +
              " can have unexpected results if the base image changes");
  } else if (const auto* copy = std::get_if<dockerfile::Copy>(&value)) {
    check_copy(step, values, *copy, false, !copy->from);
  } else if (const auto* added = std::get_if<dockerfile::Add>(&value)) {
    check_copy(step, values, *added, true, true);
  } else if (std::holds_alternative<dockerfile::Expose>(value)) {
    Result<void> checked = check_ports(step, values);
    if (!checked && !values.uncertain) return checked;
  }
  return {};
}

void StageRules::check_command(const Step& step, const StageScope& scope, bool shell_form) {
  used_once(step);
  const std::string& keyword = step.instruction.keyword.text;
  if (shell_form && !scope.shell_set)
    add(step, "JSONArgsRecommended",
        "JSON arguments recommended for " + keyword +
            " to prevent unintended behavior related to OS signals");
}

// C04: blames the earlier one, because it is the one without effect.
void StageRules::used_once(const Step& step) {
  auto [it, first] = used_.try_emplace(std::string(step.instruction.name()));
  if (!first) {
    // Either of the two comments may allow it (D07): BuildKit reads that of the later one.
    std::vector<dockerfile::Word> comments = step.instruction.comments;
    comments.insert(comments.end(), it->second.comments.begin(), it->second.comments.end());
    findings_.add("MultipleInstructionsDisallowed", it->second.span, comments,
                  "Multiple " + step.instruction.keyword.text +
                      " instructions should not be used in the same stage because only the last "
                      "one will be used");
  }
  it->second = {step.span, step.instruction.comments};
}

void StageRules::check_copy(const Step& step, const StepValues& values,
                            const dockerfile::CopyBase& copy, bool is_add, bool from_context) {
  if (from_context && ignore_ && !ignore_->empty())
    for (const std::string& source : values.words)
      if (!is_remote(source))
        check_ignored_source(*ignore_, step, source, is_add ? "Add" : "Copy", findings_);

  const std::string& to = values.destination;
  const bool folder =
      to.ends_with('/') || to == "." || to == ".." || to.ends_with("/.") || to.ends_with("/..");
  const size_t sources = values.words.size() + copy.inline_files.size();
  if (sources > 1 && !folder && !copy.parents)
    add(step, "SeveralSourcesOneFile",
        "Several sources are copied to '" + to + "'; end it with a slash, or they overwrite each " +
            "other where it is not a directory yet");

  std::set<std::string> names;
  for (const std::string& source : values.words) {
    std::string name = clean_source(source);
    name.erase(0, name.rfind('/') + 1);
    if (copy.parents || source.ends_with('/') || name.empty() ||
        name.find_first_of("*?[") != std::string::npos)
      continue;
    if (!names.insert(name).second)
      add(step, "CopiedOverwritesCopied",
          "More than one source is named '" + name + "'; of files the last one remains");
  }
}

void StageRules::check_secret(const Step& step, std::string_view keyword, const std::string& name) {
  if (!has_word(name, kSecretWords) || has_word(name, kHarmlessWords)) return;
  add(step, "SecretsUsedInArgOrEnv",
      "Do not use ARG or ENV instructions for sensitive data (" + std::string(keyword) + " " +
          quoted(name) + ")");
}

Result<void> StageRules::check_ports(const Step& step, const StepValues& values) {
  for (const std::string& text : values.words) {
    Port port = split_port(text);
    std::string proto = ascii_lower(port.proto);
    if (port.container.empty())
      return Error(ErrorKind::kInvalid, "invalid port: " + quoted(text) + ": no port specified");
    if (!proto.empty() && proto != "tcp" && proto != "udp" && proto != "sctp")
      return Error(ErrorKind::kInvalid,
                   "invalid port: " + quoted(text) + ": invalid proto: " + std::string(port.proto));
    if (proto != port.proto)
      add(step, "ExposeProtoCasing",
          "Defined protocol '" + text + "' in EXPOSE instruction should be lowercase");
    if (!port.ip.empty() || !port.host.empty())
      add(step, "ExposeInvalidFormat",
          "EXPOSE instruction should not define an IP address or host-port mapping, found '" +
              text + "'");
    if (!is_port_range(port.container))
      return Error(ErrorKind::kInvalid, "invalid containerPort: " + std::string(port.container));
  }
  return {};
}

}  // namespace kasane::lint
