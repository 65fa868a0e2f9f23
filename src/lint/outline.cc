#include "lint/outline.h"

#include <algorithm>
#include <set>

#include "lint/evaluate.h"

namespace kasane::lint {
namespace {

// Collects from the stages that the evaluation goes through, which are those the target needs.
class Collector final : public Listener {
 public:
  // Of every stage, needed or not: on_stage() picks.
  void on_from(const dockerfile::Stage& stage, const FromValues& values,
               const GlobalScope& global) override {
    if (!seen_global_) global_ = global;  // the same for every stage, and gone after the last one
    seen_global_ = true;
    std::set<std::string>& used = used_in_from_[stage.index];
    used = values.image.matched;
    if (values.platform)
      used.insert(values.platform->matched.begin(), values.platform->matched.end());
  }

  void on_stage(const dockerfile::Stage& stage) override {
    for (const std::string& name : used_in_from_[stage.index]) use_global(name);
  }

  Result<void> on_step(const Step& step, const StageScope&, const StepValues& values) override {
    for (const ArgValue& arg : values.args) {
      Entry& entry = in_stages_[{step.stage.index, arg.name}];
      entry = {{arg.name, arg.description, arg.value, step.span}, ++order_};
      if (!arg.is_global) continue;
      // Described where it is defined; arguments of the platform are defined nowhere.
      use_global(arg.name);
      auto declared = global_.declared.find(arg.name);
      if (declared == global_.declared.end())
        in_stages_.erase({step.stage.index, arg.name});
      else
        entry = global_entry(arg.name, declared->second);
    }
    for (const dockerfile::Mount& mount : values.mounts) take_mount(mount, step.span);
    return {};
  }

  void fill(Outline& out) const;

 private:
  // Several names of one ARG keep their order.
  struct Entry {
    OutlineArg arg;
    int order = 0;
  };

  static Entry global_entry(const std::string& name, const GlobalArg& arg) {
    return {{name, arg.description, arg.value, arg.span}, arg.order};
  }

  void use_global(const std::string& name) {
    std::vector<std::string> open = {name};
    while (!open.empty()) {
      std::string next = std::move(open.back());
      open.pop_back();
      auto declared = global_.declared.find(next);
      if (declared == global_.declared.end() || !globals_.insert(next).second) continue;
      open.insert(open.end(), declared->second.depends_on.begin(),
                  declared->second.depends_on.end());
    }
  }

  void take_mount(const dockerfile::Mount& mount, const SourceSpan& span) {
    if (mount.type == dockerfile::MountType::kSecret) {
      std::string id = !mount.source.empty() ? mount.source : mount.id;
      if (id.empty()) {
        id = mount.target;
        while (id.size() > 1 && id.ends_with('/')) id.pop_back();
        id.erase(0, id.rfind('/') + 1);
      }
      add(secrets_, secret_names_, {id, mount.required, span});
    } else if (mount.type == dockerfile::MountType::kSsh) {
      add(ssh_, ssh_names_, {mount.id.empty() ? "default" : mount.id, mount.required, span});
    }
  }

  // The first use of a name counts, as in BuildKit.
  static void add(std::vector<OutlineMount>& list, std::set<std::string>& names,
                  OutlineMount mount) {
    if (names.insert(mount.name).second) list.push_back(std::move(mount));
  }

  GlobalScope global_;
  bool seen_global_ = false;
  std::map<int, std::set<std::string>> used_in_from_;
  std::set<std::string> globals_;
  std::map<std::pair<int, std::string>, Entry> in_stages_;
  int order_ = 0;
  std::vector<OutlineMount> secrets_, ssh_;
  std::set<std::string> secret_names_, ssh_names_;
};

// One entry per name: that of the last stage which defines it, for it is nearest to the target;
// else the global one.
void Collector::fill(Outline& out) const {
  std::set<std::string> names;
  std::vector<Entry> entries;
  for (auto it = in_stages_.rbegin(); it != in_stages_.rend(); ++it)
    if (names.insert(it->second.arg.name).second) entries.push_back(it->second);
  for (const std::string& name : globals_)
    if (names.insert(name).second) entries.push_back(global_entry(name, global_.declared.at(name)));
  std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::pair(a.arg.span.first_line(), a.order) <
           std::pair(b.arg.span.first_line(), b.order);
  });
  for (Entry& entry : entries) out.args.push_back(std::move(entry.arg));
  auto by_line = [](const OutlineMount& a, const OutlineMount& b) {
    return a.span.first_line() < b.span.first_line();
  };
  out.secrets = secrets_;
  std::stable_sort(out.secrets.begin(), out.secrets.end(), by_line);
  out.ssh = ssh_;
  std::stable_sort(out.ssh.begin(), out.ssh.end(), by_line);
}

}  // namespace

Result<Outline> outline(const dockerfile::Dockerfile& file, const std::string& target,
                        const std::map<std::string, std::string>& build_args,
                        const oci::Platform& platform) {
  EvaluateInputs inputs;
  inputs.build_args = build_args;
  inputs.target = target;
  inputs.platform = platform;
  Collector collector;
  const StageNames names(file);
  Outline out;
  TRY(evaluate(file, inputs, collector));
  const int index = TRY(find_target(file, names, target));
  const dockerfile::Stage& stage = file.stages[static_cast<size_t>(index)];
  out.name = stage.name;
  out.description = stage.doc_comment;
  collector.fill(out);
  return out;
}

std::vector<Target> targets(const dockerfile::Dockerfile& file) {
  std::vector<Target> out;
  for (const dockerfile::Stage& stage : file.stages)
    out.push_back({stage.name, stage.doc_comment, stage.from.image.text,
                   stage.from.platform ? stage.from.platform->text : "",
                   &stage == &file.stages.back(), stage.from.span});
  return out;
}

}  // namespace kasane::lint
