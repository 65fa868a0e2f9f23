// Dockerfile text to AST. Pure functions, thread-safe, no I/O.
//
// Errors are kInvalid (kLimit for oversized input), carry the span of the exact word, and
// read as BuildKit's: "dockerfile parse error on line 3: unknown instruction: FOO (did you
// mean RUN?)". Reading is linear in the size of the text.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "dockerfile/ast.h"

namespace kasane::dockerfile {

inline constexpr size_t kMaxDockerfileBytes = 4u << 20;

// The whole file. All instructions are checked, also those of stages nobody asks for.
Result<Dockerfile> parse(std::shared_ptr<const SourceText> source);

// The same from a string; `name` is shown in excerpts ("Dockerfile").
Result<Dockerfile> parse(std::string name, std::string text);

// One instruction as an image stores it for ONBUILD (heredoc bodies may follow on further
// lines). FROM, MAINTAINER and ONBUILD are refused (I12). `name` is shown in excerpts, for
// example "ONBUILD of node:20". Always read with the default escape character.
Result<Instruction> parse_trigger(std::string name, std::string text);

}  // namespace kasane::dockerfile
