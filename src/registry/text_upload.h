// A blob from memory, which must outlive the upload.
#pragma once

#include <memory>
#include <string_view>

#include "registry/upload.h"

namespace kasane::registry {

class TextUpload final : public UploadSource {
 public:
  explicit TextUpload(std::string_view text) : text_(text) {}
  Result<std::unique_ptr<ByteSource>> open(uint64_t offset) override {
    return std::unique_ptr<ByteSource>(std::make_unique<MemorySource>(text_.substr(offset)));
  }

 private:
  std::string_view text_;
};

}  // namespace kasane::registry
