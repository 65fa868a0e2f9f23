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

std::map<std::string, std::string> notes_below(const StepKey& key, const std::string& prefix) {
  std::map<std::string, std::string> notes;
  for (const auto& [raw_name, value] : key.notes())
    if (std::string name = printable(raw_name); name.starts_with(prefix))
      notes[name.substr(prefix.size())] = value;
  return notes;
}

// The files of a mount that differ, where both keys list them.
std::vector<std::string> changed_files(const StepKey& before, const StepKey& now,
                                       const std::string& mount) {
  std::map<std::string, std::string> old = notes_below(before, "file of " + mount + ": ");
  std::map<std::string, std::string> current = notes_below(now, "file of " + mount + ": ");
  std::vector<std::string> sentences;
  if (old.empty() || current.empty()) return sentences;
  const std::string where = " (" + mount + ")";
  for (const auto& [path, digest] : current) {
    auto it = old.find(path);
    if (it == old.end())
      sentences.push_back("/" + path + " is new" + where);
    else if (it->second != digest)
      sentences.push_back("/" + path + " changed" + where);
  }
  for (const auto& [path, digest] : old)
    if (!current.contains(path)) sentences.push_back("/" + path + " is gone" + where);
  return sentences;
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
  for (const auto& [name, value] : notes_)
    json.push_back({printable(name), printable(value), true});
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<StepKey> StepKey::from_json(std::string_view text) {
  Json json = Json::parse(text, nullptr, false);
  StepKey key;
  if (!json.is_array())
    return Error(ErrorKind::kCorrupt, "explanation of a cached step is damaged");
  for (const Json& part : json) {
    if (!part.is_array() || part.size() < 2 || part.size() > 3 || !part[0].is_string() ||
        !part[1].is_string())
      return Error(ErrorKind::kCorrupt, "explanation of a cached step is damaged");
    (part.size() == 2 ? key.parts_ : key.notes_)
        .emplace_back(part[0].get<std::string>(), part[1].get<std::string>());
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
    if (!was || *was != value) {
      std::vector<std::string> files;
      if (was && name.starts_with("content of "))
        files = changed_files(before, now, name.substr(11));
      if (files.empty()) files.push_back(sentence(name, was, &value));
      sentences.insert(sentences.end(), files.begin(), files.end());
    }
    if (it != old.end()) old.erase(it);
  }
  for (const auto& [name, value] : old) sentences.push_back(sentence(name, value, nullptr));
  // The parent is the least telling reason: it only says that something earlier changed.
  std::stable_partition(sentences.begin(), sentences.end(), [](const std::string& s) {
    return !s.starts_with("the files of the step");
  });
  return sentences;
}

}  // namespace kasane::build
