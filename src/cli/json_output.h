// JSON documents that commands print.
#pragma once

#include <string>

#include "oci/json_build.h"

namespace kasane::cli {

using oci::json_bool;
using oci::json_list;
using oci::json_number;
using oci::json_object;
using oci::json_text;

// Compact, one line with its end.
inline std::string json_line(const oci::Json& value) {
  std::string out;
  value.write(out);
  return out + '\n';
}

}  // namespace kasane::cli
