// What uploads read from. Internal to src/transfer.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "registry/upload.h"

namespace kasane::transfer {

std::unique_ptr<registry::UploadSource> file_upload(std::string path);
// `bytes` must outlive the result.
std::unique_ptr<registry::UploadSource> text_upload(std::string_view bytes);

}  // namespace kasane::transfer
