// Table-driven flags with the behaviour of docker's command line (pflag): `--name=value`,
// `--name value`, `-n value`, `-nvalue`, `-n=value`, grouped switches, `--` ends flags,
// flags and arguments in any order. Pure functions; tables are static data.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace kasane::cli {

enum class FlagKind {
  kBool,    // no value needed; `--x=false` is accepted
  kString,  // the last one wins
  kInt,
  kList,  // repeatable, order kept
};

struct FlagSpec {
  std::string_view name;  // without dashes
  char shorthand = 0;     // 0: none
  FlagKind kind = FlagKind::kBool;
  std::string_view value_name = {};    // shown in help: "string", "filter"; empty for switches
  std::string_view help = {};          // newlines are kept
  std::string_view default_text = {};  // value when absent; shown in help
  // Returns the reason why a value is refused, or nothing. Called at parse time.
  std::optional<std::string> (*check)(std::string_view value) = nullptr;
  bool hidden = false;  // accepted, not listed
};

// What the user gave. Holds pointers into the FlagSpec tables, which are static.
class Arguments {
 public:
  bool on(std::string_view flag) const;  // kBool
  bool given(std::string_view flag) const;
  std::string value(std::string_view flag) const;  // last value, else the default text
  std::vector<std::string> list(std::string_view flag) const;
  const std::vector<std::string>& positional() const { return positional_; }

 private:
  friend class FlagParser;
  struct Given {
    const FlagSpec* spec;
    std::string value;
  };
  std::span<const FlagSpec> specs_;
  std::vector<Given> given_;
  std::vector<std::string> positional_;
};

struct FlagParseOptions {
  bool interspersed = true;  // false: the first argument ends the flags (global flags)
  // The first argument ends the flags, and it and all that follows are positional: they are
  // the command line of another program.
  bool stop_at_argument = false;
};

struct FlagParseResult {
  Arguments arguments;
  bool help = false;    // -h or --help came first
  size_t consumed = 0;  // words read, for !interspersed
};

// `common` flags are accepted beside `flags` (--root). Errors are kInvalid with exit code
// 125 and pflag's sentences, for example "unknown flag: --nope".
Result<FlagParseResult> parse_flags(std::span<const std::string> words,
                                    std::span<const FlagSpec> flags,
                                    std::span<const FlagSpec> common,
                                    const FlagParseOptions& options = {});

// The lines of a help page's "Options:" block, wrapped to `width` columns.
std::string flag_usages(std::span<const FlagSpec> flags, size_t width = 80);

// Go's strconv.ParseBool set.
std::optional<bool> parse_bool(std::string_view text);

// `key=value` as docker's filter flags want it.
std::optional<std::string> check_filter(std::string_view value);
// A number of bytes as parse_size() of units.h reads it.
std::optional<std::string> check_size(std::string_view value);

// Text in double quotes with Go's escapes (%q).
std::string quote(std::string_view text);

}  // namespace kasane::cli
