#include "lint/stage_graph.h"

#include <algorithm>

#include "base/diagnostic.h"
#include "base/text.h"
#include "dockerfile/parser.h"

namespace kasane::lint {
namespace {

std::optional<int> stage_number(std::string_view text) {
  if (text.empty() || text.size() > 6 ||
      text.find_first_not_of("0123456789") != std::string_view::npos)
    return std::nullopt;
  return std::stoi(std::string(text));
}

// What the instruction names as source: COPY --from, RUN --mount from=.
std::vector<std::string_view> sources_of(const dockerfile::Instruction& instruction) {
  std::vector<std::string_view> out;
  if (const auto* copy = std::get_if<dockerfile::Copy>(&instruction.value)) {
    if (copy->from) out.push_back(copy->from->text);
  } else if (const auto* run = std::get_if<dockerfile::Run>(&instruction.value)) {
    for (const dockerfile::MountFlag& mount : run->mounts)
      if (!mount.parsed.from.empty()) out.push_back(mount.parsed.from);
  }
  return out;
}

bool has_triggers(const dockerfile::Stage& stage) {
  return std::any_of(stage.instructions.begin(), stage.instructions.end(),
                     [](const dockerfile::Instruction& instruction) {
                       return std::holds_alternative<dockerfile::Onbuild>(instruction.value);
                     });
}

}  // namespace

StageNames::StageNames(const dockerfile::Dockerfile& file)
    : count_(static_cast<int>(file.stages.size())) {
  for (const dockerfile::Stage& stage : file.stages)
    if (!stage.name.empty()) indexes_[stage.name].push_back(stage.index);
}

std::optional<int> StageNames::find(std::string_view name, int before_index) const {
  auto it = indexes_.find(ascii_lower(name));
  if (it == indexes_.end()) return std::nullopt;
  auto later = std::lower_bound(it->second.begin(), it->second.end(), before_index);
  if (later == it->second.begin()) return std::nullopt;
  return *(later - 1);
}

std::optional<int> StageNames::find_source(std::string_view name, int before_index) const {
  if (std::optional<int> found = find(name, before_index)) return found;
  std::optional<int> number = stage_number(name);
  if (number && *number < before_index) return number;
  return std::nullopt;
}

std::vector<std::string> StageNames::names() const {
  std::vector<std::string> out;
  for (const auto& [name, index] : indexes_) out.push_back(name);
  return out;
}

Result<int> find_target(const dockerfile::Dockerfile& file, const StageNames& names,
                        const std::string& target) {
  const int count = static_cast<int>(file.stages.size());
  if (target.empty()) return count - 1;
  if (std::optional<int> found = names.find_source(target, count)) return *found;
  std::string near = nearest_name(target, names.names());
  return Error(ErrorKind::kNotFound, "target stage \"" + target + "\" could not be found" +
                                         (near.empty() ? "" : " (did you mean " + near + "?)"));
}

Result<std::vector<dockerfile::Instruction>> triggers_of(const dockerfile::Stage& base) {
  std::vector<dockerfile::Instruction> out;
  for (const dockerfile::Instruction& instruction : base.instructions) {
    const auto* onbuild = std::get_if<dockerfile::Onbuild>(&instruction.value);
    if (!onbuild) continue;
    out.push_back(TRY(dockerfile::parse_trigger("ONBUILD of " + base.name, onbuild->trigger)));
  }
  return out;
}

std::vector<bool> reachable_stages(const dockerfile::Dockerfile& file, const StageNames& names,
                                   const std::vector<int>& bases, int target) {
  std::vector<bool> reached(file.stages.size(), false);
  std::vector<int> open = {target};
  size_t fired = 0;
  auto visit = [&](int index) {
    if (reached[static_cast<size_t>(index)]) return;
    reached[static_cast<size_t>(index)] = true;
    open.push_back(index);
  };
  reached[static_cast<size_t>(target)] = true;
  while (!open.empty()) {
    const int index = open.back();
    open.pop_back();
    auto visit_sources = [&](const dockerfile::Instruction& instruction) {
      for (std::string_view name : sources_of(instruction))
        if (std::optional<int> source = names.find_source(name, index)) visit(*source);
    };
    for (const dockerfile::Instruction& instruction :
         file.stages[static_cast<size_t>(index)].instructions)
      visit_sources(instruction);
    const int base = bases[static_cast<size_t>(index)];
    if (base < 0) continue;
    visit(base);
    const dockerfile::Stage& stage = file.stages[static_cast<size_t>(base)];
    if (!has_triggers(stage) || fired > kMaxTriggers) continue;
    auto triggers = triggers_of(stage);  // what does not parse is reported by the evaluation
    if (!triggers) continue;
    fired += triggers->size();
    for (const dockerfile::Instruction& trigger : *triggers) visit_sources(trigger);
  }
  return reached;
}

}  // namespace kasane::lint
