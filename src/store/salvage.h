// Reads what can be read of a damaged database. Only for rebuild_database().
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace kasane::store {

struct Salvaged {
  uint64_t rows = 0;
  bool all_images = false;  // the table of images was read to its end without an error
};

// Copies rows from one database file into another that has the newest schema. Rows may then
// contradict each other: foreign keys are not looked at. Errors are those of the target only.
Result<Salvaged> salvage_rows(const std::string& damaged, const std::string& target);

}  // namespace kasane::store
