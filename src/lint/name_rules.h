// Rules that need no evaluation: spelling, names, comments, forms. Internal to lint/.
#pragma once

#include "dockerfile/ast.h"
#include "lint/findings.h"

namespace kasane::lint {

// In BuildKit's order: what the parser saw, then instruction by instruction, then the names of
// stages, then the casing of keywords.
void check_parser_warnings(const dockerfile::Dockerfile& file, Findings& findings);
void check_instructions(const dockerfile::Dockerfile& file, Findings& findings);
void check_stage_names(const dockerfile::Dockerfile& file, Findings& findings);
void check_keyword_casing(const dockerfile::Dockerfile& file, Findings& findings);

}  // namespace kasane::lint
