// What the commands about recorded builds share.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "cli/context.h"
#include "cli/template/value.h"
#include "store/build_records.h"

namespace kasane::cli {

// "" = the last build; else a tag, a (short) image id or build id. kNotFound, with a hint.
// Records that cannot be read are warned about.
Result<store::BuildRecord> find_build(Context& context, store::Store& store,
                                      const std::string& text);

void warn_all(Context& context, const std::vector<std::string>& warnings);

// Familiar tags; "<none>" when there is none.
std::string tags_text(const store::BuildRecord& build);

// "succeeded" or "failed".
std::string status_text(const store::BuildRecord& build);

uint64_t duration_of(const store::BuildRecord& build);

// The whole record as one JSON object; names in snake case.
std::string build_json(store::Store& store, const store::BuildRecord& build);

}  // namespace kasane::cli
