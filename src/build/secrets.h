// Values of --secret: given to steps, and kept out of everything else (issue of the reference
// RM4, L10, AD12): not in keys, logs, history or layers.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "store/layer.h"

namespace kasane::build {

// Immutable while a build runs; thread-safe then.
class SecretValues {
 public:
  void set(std::string id, std::string value) { values_[std::move(id)] = std::move(value); }
  const std::string* find(const std::string& id) const;
  bool empty() const { return values_.empty(); }
  const std::map<std::string, std::string>& all() const { return values_; }
  // What to look for in outputs: id and value without the final line end. Values of fewer
  // than 6 bytes are left out: they would be found everywhere.
  std::vector<std::pair<std::string, std::string>> needles() const;

 private:
  std::map<std::string, std::string> values_;
};

// Replaces secret values in the output of a step by `****`, also where a value is cut by the
// boundary of two writes. One thread.
class Redactor {
 public:
  using Out = std::function<void(std::string_view bytes, int stream)>;
  Redactor(const SecretValues& secrets, Out out);
  void write(std::string_view bytes, int stream);
  void flush();  // what was held back because it could have been the start of a value

 private:
  void emit(int stream, bool all);
  std::vector<std::string> values_;
  Out out_;
  std::map<int, std::string> held_;
};

// Whether a file or link below `directory` holds the value of a secret. True as well when that
// cannot be told: it decides what may be kept.
bool may_hold_secrets(const SecretValues& secrets, const std::string& directory);

// kPermission naming the secret, the layer and the path when a file, link or name in one of
// these layers holds the value of a secret.
Result<void> refuse_leaks(const SecretValues& secrets, const std::vector<store::LayerPtr>& layers);
// The same for a text: image configuration with its history.
Result<void> refuse_leaks(const SecretValues& secrets, std::string_view text, std::string_view what);

}  // namespace kasane::build
