#include "base/error.h"

#include <cerrno>
#include <cstring>

namespace kasane {
namespace {

ErrorKind kind_of_errno(int value) {
  switch (value) {
    case ENOENT:
    case ENOTDIR:
      return ErrorKind::kNotFound;
    case EEXIST:
    case EBUSY:
    case ENOTEMPTY:
      return ErrorKind::kConflict;
    case EACCES:
    case EPERM:
    case EROFS:
      return ErrorKind::kPermission;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return ErrorKind::kNoSpace;
    case ENOSYS:
    case EOPNOTSUPP:
      return ErrorKind::kUnsupported;
    default:
      return ErrorKind::kIo;
  }
}

}  // namespace

Error::Error(ErrorKind kind, std::string message) : data_(std::make_shared<Data>()) {
  data_->kind = kind;
  data_->message = std::move(message);
}

Error Error::from_errno(int errno_value, std::string_view what) {
  Error error(kind_of_errno(errno_value),
              std::string(what) + ": " + std::strerror(errno_value));
  error.data_->errno_value = errno_value;
  return error;
}

Error::Data& Error::mutable_data() {
  if (data_.use_count() > 1) data_ = std::make_shared<Data>(*data_);
  return *data_;
}

Error&& Error::context(std::string what) && {
  mutable_data().contexts.push_back(std::move(what));
  return std::move(*this);
}

Error&& Error::hint(std::string text) && {
  if (data_->hint.empty()) mutable_data().hint = std::move(text);
  return std::move(*this);
}

Error&& Error::at(SourceSpan span) && {
  if (!data_->span) mutable_data().span = std::move(span);
  return std::move(*this);
}

Error&& Error::exit_code(int code) && {
  mutable_data().exit_code = code;
  return std::move(*this);
}

int Error::exit_status() const { return data_->exit_code != 0 ? data_->exit_code : 1; }

std::string Error::full_message() const {
  std::string text;
  for (auto it = data_->contexts.rbegin(); it != data_->contexts.rend(); ++it) {
    text += *it;
    text += ": ";
  }
  return text + data_->message;
}

}  // namespace kasane
