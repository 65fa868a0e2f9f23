#include "cli/image_row.h"

#include "cli/units.h"

namespace kasane::cli {

tmpl::Value image_row_value(const ImageRowText& row, int64_t now_ns) {
  const std::string id = row.image->id.str();
  const uint64_t bytes = row.image->size_bytes;
  std::string since, at, shared = "N/A", unique = "N/A", containers = "N/A";
  if (row.created) {
    since = human_duration(now_ns - *row.created * 1'000'000'000) + " ago";
    at = go_time(*row.created);
  }
  if (row.shared_bytes) {
    shared = human_size(static_cast<double>(*row.shared_bytes), 4);
    unique = human_size(static_cast<double>(bytes - *row.shared_bytes), 4);
    containers = "0";  // kasane keeps none
  }
  return make_row(kImageRowType, kImageColumns,
                  {containers, at, since, row.digest, row.no_trunc ? id : truncate_id(id),
                   row.repository, shared, human_size(static_cast<double>(bytes)), row.tag, unique,
                   human_size(static_cast<double>(bytes), 4)});
}

}  // namespace kasane::cli
