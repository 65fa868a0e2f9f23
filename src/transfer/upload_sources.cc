#include "transfer/upload_sources.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "base/fd.h"
#include "base/stream.h"
#include "registry/text_upload.h"

namespace kasane::transfer {
namespace {

class FileUpload final : public registry::UploadSource {
 public:
  explicit FileUpload(std::string path) : path_(std::move(path)) {}
  Result<std::unique_ptr<ByteSource>> open(uint64_t offset) override {
    fd_ = TRY(open_file(path_, O_RDONLY | O_NOFOLLOW));
    if (::lseek(fd_.get(), static_cast<off_t>(offset), SEEK_SET) < 0)
      return Error::from_errno(errno, "seek " + path_);
    return std::unique_ptr<ByteSource>(std::make_unique<FdSource>(fd_.get(), path_));
  }

 private:
  std::string path_;
  UniqueFd fd_;
};

}  // namespace

std::unique_ptr<registry::UploadSource> file_upload(std::string path) {
  return std::make_unique<FileUpload>(std::move(path));
}
std::unique_ptr<registry::UploadSource> text_upload(std::string_view bytes) {
  return std::make_unique<registry::TextUpload>(bytes);
}

}  // namespace kasane::transfer
