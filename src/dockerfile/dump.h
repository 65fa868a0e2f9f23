// The s-expression dump of the lexical level, one line per instruction, byte for byte as
// BuildKit's parser prints it: (copy ["--chown=a"] "src" "dest"). For tests, for comparing
// with other implementations, and for `kasane debug ast`. Flags and unknown instructions are
// not judged at this level.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "base/source.h"

namespace kasane::dockerfile {

Result<std::string> dump(std::shared_ptr<const SourceText> source);

}  // namespace kasane::dockerfile
