// A small blob from memory.
#pragma once

#include <memory>
#include <string>

#include "registry/pusher.h"

namespace kasane::registry {

class TextUpload final : public UploadSource {
 public:
  explicit TextUpload(std::string text) : text_(std::move(text)) {}
  Result<std::unique_ptr<ByteSource>> open(uint64_t offset) override {
    return std::unique_ptr<ByteSource>(std::make_unique<MemorySource>(std::string_view(text_).substr(offset)));
  }

 private:
  std::string text_;
};

}  // namespace kasane::registry
