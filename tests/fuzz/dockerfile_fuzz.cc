// Any bytes as a Dockerfile: no crash, no hang, and what parses keeps its spans inside the
// text and its ONBUILD triggers readable.
#include <cstdlib>
#include <string>

#include "base/diagnostic.h"
#include "dockerfile/dump.h"
#include "dockerfile/parser.h"

using namespace kasane;
using namespace kasane::dockerfile;

static void require(bool condition) {
  if (!condition) std::abort();
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string text(reinterpret_cast<const char*>(data), size);
  auto source = std::make_shared<const SourceText>("Dockerfile", text);
  auto dumped = dump(source);
  auto file = parse(source);
  if (!file) {
    require(!file.error().message().empty());
    render_error(file.error());
    return 0;
  }
  require(dumped.has_value());  // the typed level never accepts what the lexer refused
  for (const Stage& stage : file->stages) {
    for (const Instruction& instruction : stage.instructions) {
      require(instruction.span.begin < instruction.span.end);
      require(instruction.span.end <= size);
      if (const auto* run = std::get_if<Run>(&instruction.value))
        if (!run->command.is_exec) run->command.shell_text();
      const auto* onbuild = std::get_if<Onbuild>(&instruction.value);
      // A trigger is read again with the default escape, so only that case must agree.
      if (onbuild && file->directives.escape == '\\') {
        auto again = parse_trigger("trigger", onbuild->trigger);
        if (again) require(again->value.index() == onbuild->instruction->value.index());
      }
    }
  }
  return 0;
}
