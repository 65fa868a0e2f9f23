// docker's row of an image, which `images` and `system df -v` show.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "cli/formatter.h"
#include "store/store.h"

namespace kasane::cli {

inline constexpr tmpl::GoType kImageRowType{"*formatter.imageContext", tmpl::Kind::kStruct, nullptr,
                                            true, true};
inline constexpr Column kImageColumns[] = {{"Containers", "CONTAINERS"},
                                           {"CreatedAt", "CREATED AT"},
                                           {"CreatedSince", "CREATED"},
                                           {"Digest", "DIGEST"},
                                           {"ID", "IMAGE ID"},
                                           {"Repository", "REPOSITORY"},
                                           {"SharedSize", "SHARED SIZE"},
                                           {"Size", "SIZE"},
                                           {"Tag", "TAG"},
                                           {"UniqueSize", "UNIQUE SIZE"},
                                           {"VirtualSize", "SIZE"}};

struct ImageRowText {
  const store::ImageRow* image;
  std::string repository, tag, digest;
  std::optional<int64_t> created;  // seconds
  bool no_trunc = false;
  std::optional<uint64_t> shared_bytes;  // only `system df` knows it
};

tmpl::Value image_row_value(const ImageRowText& row, int64_t now_ns);

}  // namespace kasane::cli
