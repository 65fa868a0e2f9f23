// Surroundings in a folder of their own, for the tests of this library.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "base/fd.h"
#include "registry/surroundings.h"

namespace kasane::registry::testing {

class Folder {
 public:
  Folder() : dir_(*TempDir::make()) {
    variables_["HOME"] = path("home");
  }
  std::string path(const std::string& below) const { return dir_.path() + "/" + below; }
  void write(const std::string& below, const std::string& text, mode_t mode = 0644) {
    const std::string file = path(below);
    ASSERT_TRUE(make_directories(file.substr(0, file.rfind('/'))).has_value());
    ASSERT_TRUE(replace_file(file, text, mode).has_value());
  }
  std::string read(const std::string& below) const {
    Result<std::string> text = read_file(path(below));
    return text ? *text : "";
  }
  void set(const std::string& name, const std::string& value) { variables_[name] = value; }
  Surroundings around() const {
    Surroundings out;
    out.etc = path("etc");
    out.environment = [variables = variables_](const std::string& name) -> std::optional<std::string> {
      auto it = variables.find(name);
      if (it == variables.end()) return std::nullopt;
      return it->second;
    };
    return out;
  }

 private:
  TempDir dir_;
  std::map<std::string, std::string> variables_;
};

}  // namespace kasane::registry::testing
