#include "build/keys.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "base/diagnostic.h"

namespace kasane::build {
namespace {

using Json = nlohmann::json;

// Non-UTF-8 bytes cannot stand in JSON; replaced ones are enough for an explanation, and the
// digest is taken over the true bytes. What comes out is its own printable form.
std::string printable(std::string_view text) {
  std::string quoted = Json(std::string(text)).dump(-1, ' ', false, Json::error_handler_t::replace);
  return Json::parse(quoted).get<std::string>();
}

std::string shortened(std::string_view text) {
  constexpr size_t kMax = 60;
  std::string line = sanitize(text);
  return line.size() <= kMax ? line : line.substr(0, kMax) + "...";
}

std::string sentence(const std::string& name, const std::string* before, const std::string* now) {
  if (name == "parent") return "the files of the step before it changed";
  if (name == "files") return "copied files changed";
  if (name == "kind" && before && now) return "the step was " + *before + " and is " + *now;
  if (name.starts_with("content of mount ") && before && now)
    return "the files of " + name.substr(11) + " changed";
  if (name == "command" && before && now)
    return "the command changed from `" + shortened(*before) + "` to `" + shortened(*now) + "`";
  std::string what = name.starts_with("env ") ? "variable " + name.substr(4) : name;
  if (!before) return what + " is new: " + shortened(*now);
  if (!now) return what + " is gone (was " + shortened(*before) + ")";
  return what + " changed from " + shortened(*before) + " to " + shortened(*now);
}

}  // namespace

Sha256Digest StepKey::digest() const {
  FieldHash hash("kasane.step.1");
  for (const auto& [name, value] : parts_) hash.add(name).add(value);
  return hash.finish();
}

std::string StepKey::to_json() const {
  Json json = Json::array();
  for (const auto& [name, value] : parts_) json.push_back({printable(name), printable(value)});
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<StepKey> StepKey::from_json(std::string_view text) {
  Json json = Json::parse(text, nullptr, false);
  StepKey key;
  if (!json.is_array()) return Error(ErrorKind::kCorrupt, "explanation of a cached step is damaged");
  for (const Json& part : json) {
    if (!part.is_array() || part.size() != 2 || !part[0].is_string() || !part[1].is_string())
      return Error(ErrorKind::kCorrupt, "explanation of a cached step is damaged");
    key.add(part[0].get<std::string>(), part[1].get<std::string>());
  }
  return key;
}

std::vector<std::string> describe_changes(const StepKey& before, const StepKey& now) {
  std::map<std::string, const std::string*> old;
  for (const auto& [name, value] : before.parts()) old[name] = &value;
  std::vector<std::string> sentences;
  for (const auto& [raw_name, raw_value] : now.parts()) {
    std::string name = printable(raw_name), value = printable(raw_value);
    auto it = old.find(name);
    const std::string* was = it == old.end() ? nullptr : it->second;
    if (!was || *was != value) sentences.push_back(sentence(name, was, &value));
    if (it != old.end()) old.erase(it);
  }
  for (const auto& [name, value] : old) sentences.push_back(sentence(name, value, nullptr));
  // The parent is the least telling reason: it only says that something earlier changed.
  std::stable_partition(sentences.begin(), sentences.end(),
                        [](const std::string& s) { return !s.starts_with("the files of the step"); });
  return sentences;
}

}  // namespace kasane::build
