// What pull, push, login and build share about registries.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "cli/context.h"
#include "cli/flags.h"
#include "registry/surroundings.h"

namespace kasane::cli {

registry::Surroundings surroundings_of(Context& context);

// For FlagSpec::check of --platform: os/arch[/variant].
std::optional<std::string> check_platform(std::string_view value);

// --format of commands that offer JSON in place of their text.
std::optional<std::string> check_json(std::string_view value);
inline constexpr FlagSpec kJsonFlag = {.name = "format",
                                       .kind = FlagKind::kString,
                                       .value_name = "string",
                                       .help = "\"json\": one JSON object in place of the text",
                                       .check = check_json};

// docker's progress of layers: one line per change, or on a terminal one line per layer that is
// drawn again. Results go to standard output, as docker's. Used by one thread at a time.
class LayerLines {
 public:
  LayerLines(Context& context, bool quiet) : context_(context), quiet_(quiet) {}
  void status(const std::string& id, const std::string& text);
  void progress(const std::string& id, const std::string& verb, uint64_t current, uint64_t total);
  void line(const std::string& text);  // of no layer; below those that were drawn

 private:
  void draw(const std::string& id, const std::string& text);
  Context& context_;
  bool quiet_;
  std::map<std::string, size_t> rows_;
};

}  // namespace kasane::cli
