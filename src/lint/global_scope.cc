#include "dockerfile/expand.h"
#include "lint/evaluate.h"

namespace kasane::lint {

Result<GlobalScope> evaluate_global_args(const dockerfile::Dockerfile& file,
                                         const EvaluateInputs& inputs,
                                         const std::map<std::string, std::string>* build_args) {
  GlobalScope scope;
  auto set = [&](const std::string& name, std::string value) {
    auto given = inputs.build_args.find(name);
    scope.env.set(name, given != inputs.build_args.end() ? given->second : std::move(value));
  };
  auto set_side = [&](const std::string& side, const oci::Platform& p) {
    set(side + "PLATFORM", p.str());
    set(side + "OS", p.os);
    set(side + "OSVERSION", p.os_version);
    set(side + "ARCH", p.architecture);
    set(side + "VARIANT", p.variant);
  };
  set_side("BUILD", oci::Platform::host());
  set_side("TARGET", inputs.platform);
  const std::string& last = file.stages.back().name;
  set("TARGETSTAGE", !inputs.target.empty() ? inputs.target : last.empty() ? "default" : last);

  int order = 0;
  for (const dockerfile::MetaArg& meta : file.meta_args) {
    for (const dockerfile::ArgDefinition& definition : meta.arg.args) {
      GlobalArg arg{{}, {}, definition.description, meta.span, ++order};
      const std::string& name = definition.key.text;
      if (build_args && build_args->contains(name)) {
        arg.value = build_args->at(name);
      } else if (definition.value) {
        auto expansion =
            dockerfile::expand_word(definition.value->text, scope.env, file.directives.escape);
        if (!expansion) return std::move(expansion.error()).at(definition.value->span);
        arg.value = std::move(expansion->value);
        arg.depends_on = std::move(expansion->matched);
        // `ARG A=${A}x` needs what the earlier A needed.
        if (arg.depends_on.erase(name) > 0)
          if (auto old = scope.declared.find(name); old != scope.declared.end())
            arg.depends_on.merge(old->second.depends_on);
      }
      if (arg.value) scope.env.set(name, *arg.value);
      scope.declared[name] = std::move(arg);
    }
  }
  return scope;
}

}  // namespace kasane::lint
