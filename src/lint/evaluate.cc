#include "lint/evaluate.h"

#include <algorithm>
#include <charconv>

#include "dockerfile/mount.h"
#include "dockerfile/parser.h"

namespace kasane::lint {
namespace {

using dockerfile::Expansion;
using dockerfile::Word;

constexpr std::string_view kDefaultPath =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
// Environments of all stages together: a file of 4 MiB could ask for far more.
constexpr size_t kMaxEnvironmentBytes = 64u << 20;

// Never in the environment of a step (A14).
bool is_scan_arg(std::string_view name) {
  return name == "BUILDKIT_SBOM_SCAN_CONTEXT" || name == "BUILDKIT_SBOM_SCAN_STAGE";
}

Error too_large(const SourceSpan& span) {
  return Error(ErrorKind::kLimit, "the variables of all stages take more than " +
                                      std::to_string(kMaxEnvironmentBytes >> 20) + " MiB")
      .at(span);
}

class Evaluator {
 public:
  Evaluator(const dockerfile::Dockerfile& file, const EvaluateInputs& inputs, Listener& listener)
      : file_(file), inputs_(inputs), listener_(listener), names_(file) {}

  Result<void> run();

 private:
  Result<void> enter_from(const dockerfile::Stage& stage);
  Result<oci::Platform> platform_of(const dockerfile::From& from, const Expansion& expansion);
  Result<void> run_stage(const dockerfile::Stage& stage);
  Result<std::vector<std::string>> inherit(const dockerfile::Stage& stage);
  Result<void> fire_triggers(const dockerfile::Stage& stage, std::vector<std::string> of_image);
  Result<void> fire(const dockerfile::Stage& stage, const dockerfile::Instruction& instruction);

  Result<void> take(const Step& step);
  Result<std::string> expand(const Step& step, const Word& word);
  void note_undefined(const Step& step, std::set<std::string> names);

  // Words first, then the listener, then the effect on the scope.
  Result<void> step(const Step& step, const dockerfile::Env& env);
  Result<void> step(const Step& step, const dockerfile::Label& label);
  Result<void> step(const Step& step, const dockerfile::Arg& arg);
  Result<void> step(const Step& step, const dockerfile::Run& run);
  Result<void> step(const Step& step, const dockerfile::Copy& copy);
  Result<void> step(const Step& step, const dockerfile::Add& add);
  Result<void> step(const Step& step, const dockerfile::Workdir& workdir);
  Result<void> step(const Step& step, const dockerfile::User& user);
  Result<void> step(const Step& step, const dockerfile::Expose& expose);
  Result<void> step(const Step& step, const dockerfile::Volume& volume);
  Result<void> step(const Step& step, const dockerfile::StopSignal& signal);
  Result<void> step(const Step& step, const dockerfile::Shell& shell);
  template <class Other>
  Result<void> step(const Step& step, const Other&) {
    return listener_.on_step(step, *scope_, {});
  }
  Result<StepValues> copy_values(const Step& step, const dockerfile::CopyBase& copy);
  Result<void> check_source(const Step& step, const Word& from) const;

  const dockerfile::Dockerfile& file_;
  const EvaluateInputs& inputs_;
  Listener& listener_;
  StageNames names_;
  GlobalScope global_;
  std::vector<int> bases_;                // per stage: index of its base stage or -1
  std::vector<std::string> images_;       // per stage: the name in FROM, expanded
  std::vector<oci::Platform> platforms_;  // per stage
  std::map<int, StageScope> scopes_;
  StageScope* scope_ = nullptr;  // of the stage being evaluated
  size_t environment_bytes_ = 0;
  size_t fired_ = 0;
  bool uncertain_ = false;  // of the step being evaluated
};

Result<void> Evaluator::run() {
  global_ = TRY(evaluate_global_args(file_, inputs_, &inputs_.build_args));
  for (const dockerfile::Stage& stage : file_.stages) TRY(enter_from(stage));
  const int target = TRY(find_target(file_, names_, inputs_.target));
  std::vector<bool> wanted(file_.stages.size(), true);
  if (!inputs_.all_stages) wanted = reachable_stages(file_, names_, bases_, target);
  for (const dockerfile::Stage& stage : file_.stages)
    if (wanted[static_cast<size_t>(stage.index)]) TRY(run_stage(stage));
  return {};
}

Result<void> Evaluator::enter_from(const dockerfile::Stage& stage) {
  const dockerfile::From& from = stage.from;
  auto image = dockerfile::expand_word(from.image.text, global_.env, file_.directives.escape);
  if (!image) return std::move(image.error()).at(from.image.span);
  FromValues values{std::move(*image), std::nullopt};
  std::optional<Error> bad_platform;
  if (from.platform) {
    auto platform =
        dockerfile::expand_word(from.platform->text, global_.env, file_.directives.escape);
    if (platform)
      values.platform = std::move(*platform);
    else
      bad_platform = std::move(platform.error()).at(from.platform->span);
  }
  listener_.on_from(stage, values, global_);
  if (values.image.value.empty())
    return Error(ErrorKind::kInvalid, "base name (" + from.image.text + ") should not be blank")
        .at(from.image.span)
        .hint("give the ARG a default, or pass it with --build-arg");
  if (bad_platform) return std::move(*bad_platform);
  platforms_.push_back(values.platform ? TRY(platform_of(from, *values.platform))
                                       : inputs_.platform);
  bases_.push_back(names_.find(values.image.value, stage.index).value_or(-1));
  images_.push_back(std::move(values.image.value));
  return {};
}

Result<oci::Platform> Evaluator::platform_of(const dockerfile::From& from,
                                             const Expansion& expansion) {
  if (expansion.value.empty())
    return Error(ErrorKind::kInvalid, "empty platform value from expression " + from.platform->text)
        .at(from.platform->span);
  Result<oci::Platform> platform = oci::Platform::parse(expansion.value);
  if (!platform)
    return std::move(platform.error())
        .context("failed to parse platform " + from.platform->text)
        .at(from.platform->span);
  return platform;
}

Result<void> Evaluator::run_stage(const dockerfile::Stage& stage) {
  listener_.on_stage(stage);
  scope_ = &scopes_[stage.index];
  std::vector<std::string> image_triggers = TRY(inherit(stage));
  for (const auto& [name, value] : scope_->env.variables())
    environment_bytes_ += name.size() + value.size();
  if (environment_bytes_ > kMaxEnvironmentBytes) return too_large(stage.from.span);
  TRY(fire_triggers(stage, std::move(image_triggers)));
  for (const dockerfile::Instruction& instruction : stage.instructions)
    TRY(take({stage, instruction, instruction.span, false}));
  return {};
}

// The scope of the base, or that of its image; returns the image's triggers.
Result<std::vector<std::string>> Evaluator::inherit(const dockerfile::Stage& stage) {
  const auto index = static_cast<size_t>(stage.index);
  std::vector<std::string> triggers;
  if (bases_[index] >= 0) {
    *scope_ = scopes_.at(bases_[index]);
    return triggers;
  }
  const std::string& image = images_[index];
  if (image != "scratch") {
    std::optional<oci::ImageConfig> config;
    if (inputs_.base_config) config = inputs_.base_config(image);
    if (config) {
      listener_.on_base_image(stage, image, platforms_[index], *config);
      scope_->env = dockerfile::EnvironmentList(config->config.env);
      scope_->shell_set = config->config.shell && !config->config.shell->empty();
      triggers = std::move(config->config.on_build);
    } else {
      scope_->unknown_base = image;
    }
  }
  if (!scope_->env.get("PATH") && platforms_[index].os != "windows")
    scope_->env.set("PATH", std::string(kDefaultPath));
  return triggers;
}

Result<void> Evaluator::fire_triggers(const dockerfile::Stage& stage,
                                      std::vector<std::string> of_image) {
  for (const std::string& trigger : of_image) {
    auto instruction = dockerfile::parse_trigger("ONBUILD of " + stage.from.image.text, trigger);
    if (!instruction) return std::move(instruction.error()).at(stage.from.span);
    TRY(fire(stage, *instruction));
  }
  const int base = bases_[static_cast<size_t>(stage.index)];
  if (base < 0) return {};
  auto triggers = triggers_of(file_.stages[static_cast<size_t>(base)]);
  if (!triggers) return std::move(triggers.error()).at(stage.from.span);
  for (const dockerfile::Instruction& instruction : *triggers) TRY(fire(stage, instruction));
  return {};
}

Result<void> Evaluator::fire(const dockerfile::Stage& stage,
                             const dockerfile::Instruction& instruction) {
  if (++fired_ > kMaxTriggers)
    return Error(ErrorKind::kLimit,
                 "more than " + std::to_string(kMaxTriggers) + " ONBUILD triggers fire")
        .at(stage.from.span);
  return take({stage, instruction, stage.from.span, true});
}

Result<void> Evaluator::take(const Step& step) {
  uncertain_ = false;
  Result<void> taken = std::visit([&](const auto& value) { return this->step(step, value); },
                                  step.instruction.value);
  if (!taken) return std::move(taken.error()).at(step.span);
  return {};
}

void Evaluator::note_undefined(const Step& step, std::set<std::string> names) {
  std::erase_if(names, [&](const std::string& name) {
    return scope_->declared_args.contains(name) || is_scan_arg(name);
  });
  if (names.empty()) return;
  uncertain_ |= !scope_->unknown_base.empty();
  listener_.on_undefined(step, names, *scope_);
}

Result<std::string> Evaluator::expand(const Step& step, const Word& word) {
  // A trigger is read with the default escape, whatever the file says.
  const char escape = step.is_trigger ? '\\' : file_.directives.escape;
  auto expansion = dockerfile::expand_word(word.text, scope_->env, escape);
  if (!expansion) return std::move(expansion.error()).at(step.is_trigger ? step.span : word.span);
  note_undefined(step, std::move(expansion->unmatched));
  return std::move(expansion->value);
}

// V17: all pairs see the environment from before the instruction.
Result<void> Evaluator::step(const Step& step, const dockerfile::Env& env) {
  StepValues values;
  std::vector<std::string> contents;
  for (const dockerfile::KeyValue& pair : env.pairs) {
    values.words.push_back(TRY(expand(step, pair.key)));
    contents.push_back(TRY(expand(step, pair.value)));
  }
  TRY(listener_.on_step(step, *scope_, values));
  for (size_t i = 0; i < contents.size(); ++i) {
    environment_bytes_ += values.words[i].size() + contents[i].size();
    scope_->env.set(values.words[i], std::move(contents[i]));
  }
  if (environment_bytes_ > kMaxEnvironmentBytes) return too_large(step.span);
  return {};
}

Result<void> Evaluator::step(const Step& step, const dockerfile::Label& label) {
  for (const dockerfile::KeyValue& pair : label.pairs) {
    TRY(expand(step, pair.key));
    TRY(expand(step, pair.value));
  }
  return listener_.on_step(step, *scope_, {});
}

// A02-A07: --build-arg beats the stage's default beats the global value; a default that is not
// used is not expanded. Later names of one instruction see the earlier ones (V17).
Result<void> Evaluator::step(const Step& step, const dockerfile::Arg& arg) {
  for (const dockerfile::ArgDefinition& definition : arg.args) {
    ArgValue value;
    value.name = TRY(expand(step, definition.key));
    value.description = definition.description;
    if (auto given = inputs_.build_args.find(value.name); given != inputs_.build_args.end()) {
      value.value = given->second;
    } else if (definition.value) {
      value.value = TRY(expand(step, *definition.value));
    } else {
      value.value = global_.env.get(value.name);
      value.is_global = value.value.has_value();
    }
    StepValues values;
    values.args.push_back(value);
    TRY(listener_.on_step(step, *scope_, values));
    if (value.value && !is_scan_arg(value.name)) {
      environment_bytes_ += value.name.size() + value.value->size();
      scope_->env.set(value.name, std::move(*value.value));
    }
    scope_->declared_args.insert(value.name);
  }
  if (environment_bytes_ > kMaxEnvironmentBytes) return too_large(step.span);
  return {};
}

Result<void> Evaluator::step(const Step& step, const dockerfile::Run& run) {
  StepValues values;
  for (const dockerfile::MountFlag& mount : run.mounts) {
    auto parsed = dockerfile::parse_mount(mount.csv, [&](std::string_view text) {
      return expand(step, {std::string(text), mount.csv.span});
    });
    values.mounts.push_back(TRY(std::move(parsed)));
    if (!values.mounts.back().from.empty())
      TRY(check_source(step, {values.mounts.back().from, mount.csv.span}));
  }
  return listener_.on_step(step, *scope_, values);
}

Result<StepValues> Evaluator::copy_values(const Step& step, const dockerfile::CopyBase& copy) {
  StepValues values;
  if (copy.chown) TRY(expand(step, *copy.chown));
  if (copy.chmod) TRY(expand(step, *copy.chmod));
  for (const Word& source : copy.sources) values.words.push_back(TRY(expand(step, source)));
  values.destination = TRY(expand(step, copy.destination));
  for (const dockerfile::Heredoc& heredoc : copy.inline_files) {
    if (!heredoc.expand) continue;
    auto expansion = dockerfile::expand_heredoc(heredoc.content(), scope_->env);
    if (!expansion) return std::move(expansion.error()).at(heredoc.span);
    note_undefined(step, std::move(expansion->unmatched));
  }
  return values;
}

// A stage must be defined before it is copied from.
Result<void> Evaluator::check_source(const Step& step, const Word& from) const {
  if (names_.find_source(from.text, step.stage.index)) return {};
  int number = 0;
  auto [end, error] =
      std::from_chars(from.text.data(), from.text.data() + from.text.size(), number);
  const bool is_number = error == std::errc() && end == from.text.data() + from.text.size();
  if (!is_number && !names_.find(from.text)) return {};
  const std::string& name = step.stage.name;
  return Error(ErrorKind::kInvalid, "cannot copy from stage \"" + from.text +
                                        "\", it needs to be defined before current stage \"" +
                                        (name.empty() ? std::to_string(step.stage.index) : name) +
                                        "\"")
      .at(from.span);
}

Result<void> Evaluator::step(const Step& step, const dockerfile::Copy& copy) {
  StepValues values = TRY(copy_values(step, copy));
  TRY(listener_.on_step(step, *scope_, values));
  if (copy.from) TRY(check_source(step, *copy.from));
  return {};
}

Result<void> Evaluator::step(const Step& step, const dockerfile::Add& add) {
  if (add.checksum) TRY(expand(step, *add.checksum));
  StepValues values = TRY(copy_values(step, add));
  return listener_.on_step(step, *scope_, values);
}

Result<void> Evaluator::step(const Step& step, const dockerfile::Workdir& workdir) {
  StepValues values;
  values.words.push_back(TRY(expand(step, workdir.path)));
  values.uncertain = uncertain_;
  TRY(listener_.on_step(step, *scope_, values));
  scope_->workdir_set = true;
  return {};
}

Result<void> Evaluator::step(const Step& step, const dockerfile::User& user) {
  TRY(expand(step, user.user));
  return listener_.on_step(step, *scope_, {});
}

// V18: splits after expansion. BuildKit says nothing about undefined variables here.
Result<void> Evaluator::step(const Step& step, const dockerfile::Expose& expose) {
  StepValues values;
  for (const Word& port : expose.ports) {
    auto words = dockerfile::expand_words(port.text, scope_->env,
                                          step.is_trigger ? '\\' : file_.directives.escape);
    if (!words) return std::move(words.error()).at(step.is_trigger ? step.span : port.span);
    values.uncertain |= !words->unmatched.empty() && !scope_->unknown_base.empty();
    for (std::string& word : words->words) values.words.push_back(std::move(word));
  }
  return listener_.on_step(step, *scope_, values);
}

Result<void> Evaluator::step(const Step& step, const dockerfile::Volume& volume) {
  for (const Word& path : volume.paths) TRY(expand(step, path));
  return listener_.on_step(step, *scope_, {});
}

Result<void> Evaluator::step(const Step& step, const dockerfile::StopSignal& signal) {
  TRY(expand(step, signal.signal));
  return listener_.on_step(step, *scope_, {});
}

Result<void> Evaluator::step(const Step& step, const dockerfile::Shell&) {
  TRY(listener_.on_step(step, *scope_, {}));
  scope_->shell_set = true;
  return {};
}

}  // namespace

Result<void> evaluate(const dockerfile::Dockerfile& file, const EvaluateInputs& inputs,
                      Listener& listener) {
  return Evaluator(file, inputs, listener).run();
}

}  // namespace kasane::lint
