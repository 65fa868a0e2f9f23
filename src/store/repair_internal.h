// What the files of the repair share.
#pragma once

#include <string_view>
#include <vector>

#include "base/hash.h"
#include "base/result.h"
#include "store/database.h"

namespace kasane::store {

// Column 0 of every row; `sql` is a literal with one parameter.
Result<std::vector<Sha256Digest>> query_digests(Database& database, std::string_view sql,
                                                const Sha256Digest& parameter);

}  // namespace kasane::store
