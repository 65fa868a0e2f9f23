// Functions that templates can call: Go's builtins and docker's additions.
#pragma once

#include <array>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "cli/template/value.h"

namespace kasane::cli::tmpl {

// How an argument is checked before the call.
enum class Param {
  kNone,
  kAny,      // interface{}
  kReflect,  // reflect.Value: anything, also nothing
  kString,
  kInt,
  kStrings,  // []string
};

struct Function {
  std::string_view name;
  std::array<Param, 3> fixed;  // kNone ends the list
  Param variadic = Param::kNone;
  // The error's message is the reason, without "error calling NAME: ".
  Result<Value> (*call)(std::span<const Value> arguments);
  size_t fixed_count() const;
};

// `and` and `or` are evaluated by the executor, which stops at the deciding argument; they
// are listed so that the parser knows them. header = true: the functions that docker uses
// for the heading row of a table, where json, split, ... return their first argument.
// buildx: `json` indents by two spaces.
const Function* find_function(std::string_view name, bool header = false, bool buildx = false);

}  // namespace kasane::cli::tmpl
