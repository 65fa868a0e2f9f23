#include "store/layer_index.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>

#include "base/fd.h"
#include "store/index_format.h"

namespace kasane::store {
namespace {

using index_format::Header;
using index_format::Record;
using index_format::XattrHead;

Error damaged(const std::string& path, std::string_view why) {
  return Error(ErrorKind::kCorrupt, "layer index " + path + " is damaged: " + std::string(why))
      .hint("run `kasane store check`");
}

Sha256Digest to_digest(const uint8_t (&bytes)[32]) {
  Sha256Digest digest;
  std::memcpy(digest.bytes.data(), bytes, sizeof bytes);
  return digest;
}

std::span<const uint8_t> covered_by_header_checksum(const Header& header) {
  return {reinterpret_cast<const uint8_t*>(&header), offsetof(Header, header_checksum)};
}

tar::EntryType known_type(uint8_t type) {
  return type <= static_cast<uint8_t>(tar::EntryType::kFifo) ? static_cast<tar::EntryType>(type)
                                                             : tar::EntryType::kFile;
}

// Read-only mapping of a whole file.
class Mapping {
 public:
  Mapping() = default;
  Mapping(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  Mapping(Mapping&& other) noexcept : data_(other.data_), size_(other.size_) {
    other.data_ = nullptr;
  }
  Mapping& operator=(Mapping&&) = delete;
  ~Mapping() {
    if (data_) ::munmap(const_cast<uint8_t*>(data_), size_);
  }
  const uint8_t* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  const uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

// Every position that comes out of the file is checked where it is used: a damaged index
// gives wrong or empty answers, which digests catch, but no read outside the mapping.
class MappedIndex final : public LayerIndex {
 public:
  MappedIndex(Mapping mapping, const Header& header) : mapping_(std::move(mapping)) {
    summary_.diff_id = to_digest(header.diff_id);
    summary_.content_id = to_digest(header.content_id);
    summary_.tar_size = header.tar_size;
    summary_.content_size = header.content_size;
    summary_.entry_count = header.entry_count;
    summary_.canonical = header.flags & index_format::kCanonical;
    flags_ = header.flags;
    count_ = header.entry_count;
    order_count_ = header.order_count;
    records_ = mapping_.data() + sizeof(Header);
    order_ = records_ + count_ * sizeof(Record);
    const uint8_t* strings = order_ + order_count_ * sizeof(uint32_t);
    strings_ = {reinterpret_cast<const char*>(strings), header.strings_size};
    xattrs_ = {reinterpret_cast<const char*>(strings) + header.strings_size, header.xattrs_size};
  }

  const LayerSummary& summary() const override { return summary_; }
  size_t size() const override { return count_; }
  EntryView at(size_t i) const override;
  std::string_view path_at(size_t i) const override {
    if (i >= count_) return {};
    uint32_t offset;
    uint16_t size;
    const uint8_t* record = records_ + i * sizeof(Record);
    std::memcpy(&offset, record + offsetof(Record, path_offset), sizeof offset);
    std::memcpy(&size, record + offsetof(Record, path_size), sizeof size);
    return text(offset, size);
  }
  tar::EntryType type_at(size_t i) const override {
    return i < count_ ? known_type(records_[i * sizeof(Record) + offsetof(Record, type)])
                      : tar::EntryType::kFile;
  }
  std::optional<size_t> find(std::string_view path) const override;
  std::pair<size_t, size_t> subtree(std::string_view directory) const override;
  size_t tar_order(size_t i) const override;
  bool has_whiteouts() const override { return flags_ & index_format::kHasWhiteouts; }
  bool has_implicit_parents() const override { return flags_ & index_format::kHasImplicitParents; }

 private:
  std::string_view text(uint64_t offset, uint64_t size) const {
    if (offset > strings_.size() || size > strings_.size() - offset) return {};
    return strings_.substr(offset, size);
  }
  std::vector<tar::Xattr> xattrs(const Record& record) const;
  // First position in [low, high) whose path is not `before`; `before` must be monotone.
  template <class Before>
  size_t partition(size_t low, size_t high, Before before) const {
    while (low < high) {
      const size_t middle = low + (high - low) / 2;
      if (before(path_at(middle)))
        low = middle + 1;
      else
        high = middle;
    }
    return low;
  }

  Mapping mapping_;
  LayerSummary summary_;
  uint32_t flags_ = 0;
  size_t count_ = 0;
  size_t order_count_ = 0;
  const uint8_t* records_ = nullptr;
  const uint8_t* order_ = nullptr;
  std::string_view strings_;
  std::string_view xattrs_;
};

EntryView MappedIndex::at(size_t i) const {
  EntryView view{};
  if (i >= count_) return view;
  Record record;
  std::memcpy(&record, records_ + i * sizeof(Record), sizeof record);
  view.type = known_type(record.type);
  view.path = text(record.path_offset, record.path_size);
  view.link_target = text(record.link_offset, record.link_size);
  view.mode = record.mode & 07777;
  view.uid = record.uid;
  view.gid = record.gid;
  view.size = record.size;
  view.mtime = {record.mtime_sec, std::min<uint32_t>(record.mtime_nsec, 999'999'999)};
  view.dev_major = record.dev_major;
  view.dev_minor = record.dev_minor;
  view.content = to_digest(record.content);
  view.header_offset = record.header_offset;
  view.data_offset = record.data_offset;
  view.raw_size = record.raw_size;
  view.sparse = record.flags & index_format::kSparse;
  if (record.xattr_count > 0) view.xattrs = xattrs(record);
  return view;
}

std::vector<tar::Xattr> MappedIndex::xattrs(const Record& record) const {
  std::vector<tar::Xattr> result;
  if (record.xattr_offset > xattrs_.size()) return result;
  std::string_view rest = xattrs_.substr(record.xattr_offset);
  for (uint16_t i = 0; i < record.xattr_count; ++i) {
    XattrHead head;
    if (rest.size() < sizeof head) break;
    std::memcpy(&head, rest.data(), sizeof head);
    rest.remove_prefix(sizeof head);
    if (rest.size() < uint64_t{head.name_size} + head.value_size) break;
    result.push_back({std::string(rest.substr(0, head.name_size)),
                      std::string(rest.substr(head.name_size, head.value_size))});
    rest.remove_prefix(size_t{head.name_size} + head.value_size);
  }
  return result;
}

std::optional<size_t> MappedIndex::find(std::string_view path) const {
  const size_t i = partition(
      0, count_, [&](std::string_view other) { return tar::compare_paths(other, path) < 0; });
  if (i < count_ && path_at(i) == path) return i;
  return std::nullopt;
}

std::pair<size_t, size_t> MappedIndex::subtree(std::string_view directory) const {
  if (directory.empty()) return {count_ > 0 && path_at(0).empty() ? 1 : 0, count_};
  auto below = [&](std::string_view path) {
    return path.size() > directory.size() && path[directory.size()] == '/' &&
           path.starts_with(directory);
  };
  const size_t begin = partition(
      0, count_, [&](std::string_view path) { return tar::compare_paths(path, directory) <= 0; });
  // Directories with few entries are the common case: gallop before bisecting.
  size_t low = begin;
  size_t step = 1;
  while (low + step < count_ && below(path_at(low + step))) {
    low += step;
    step *= 2;
  }
  const size_t end = partition(low, std::min(count_, low + step), below);
  return {begin, std::max(begin, end)};
}

size_t MappedIndex::tar_order(size_t i) const {
  if (i >= order_count_) return i;
  uint32_t position;
  std::memcpy(&position, order_ + i * sizeof position, sizeof position);
  return position < count_ ? position : 0;
}

Result<Mapping> map_file(const std::string& path) {
  UniqueFd fd = TRY(open_file(path, O_RDONLY | O_NONBLOCK | O_NOCTTY));
  struct stat st;
  if (::fstat(fd.get(), &st) != 0) return Error::from_errno(errno, "stat " + path);
  if (!S_ISREG(st.st_mode)) return damaged(path, "it is not a regular file");
  const size_t size = static_cast<size_t>(st.st_size);
  if (size < sizeof(Header)) return damaged(path, "it is shorter than its header");
  void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd.get(), 0);
  if (data == MAP_FAILED) return Error::from_errno(errno, "map " + path);
  return Mapping(static_cast<const uint8_t*>(data), size);
}

Result<void> check_header(const std::string& path, const Header& header, size_t file_size) {
  if (std::memcmp(header.magic, index_format::kMagic, sizeof header.magic) != 0)
    return damaged(path, "it does not begin as an index does");
  if (header.version != index_format::kVersion)
    return Error(ErrorKind::kUnsupported,
                 "layer index " + path + " has format version " + std::to_string(header.version) +
                     "; this kasane reads version " + std::to_string(index_format::kVersion))
        .hint("the store was written by another version of kasane");
  if (sha256(covered_by_header_checksum(header)) != to_digest(header.header_checksum))
    return damaged(path, "the checksum of its header does not match");
  if (header.header_size != sizeof(Header) || header.record_size != sizeof(Record) ||
      (header.order_count != 0 && header.order_count != header.entry_count) ||
      header.entry_count > UINT32_MAX || header.strings_size > UINT32_MAX ||
      header.xattrs_size > UINT32_MAX)
    return damaged(path, "its header contradicts itself");
  // None of these sums can overflow: all terms are below 2^40.
  const uint64_t expected = sizeof(Header) + header.entry_count * sizeof(Record) +
                            header.order_count * sizeof(uint32_t) + header.strings_size +
                            header.xattrs_size;
  if (expected != file_size)
    return damaged(path, "it has " + std::to_string(file_size) + " bytes instead of " +
                             std::to_string(expected));
  return {};
}

}  // namespace

tar::Entry EntryView::to_entry() const {
  tar::Entry entry;
  entry.type = type;
  entry.path = std::string(path);
  entry.link_target = std::string(link_target);
  entry.mode = mode;
  entry.uid = uid;
  entry.gid = gid;
  entry.size = size;
  entry.mtime = mtime;
  entry.dev_major = dev_major;
  entry.dev_minor = dev_minor;
  entry.xattrs = xattrs;
  return entry;
}

Result<std::shared_ptr<const LayerIndex>> LayerIndex::open(const std::string& path, bool verify) {
  Mapping mapping = TRY(map_file(path));
  Header header;
  std::memcpy(&header, mapping.data(), sizeof header);
  TRY(check_header(path, header, mapping.size()));
  if (verify) {
    const std::span<const uint8_t> body(mapping.data() + sizeof header,
                                        mapping.size() - sizeof header);
    if (sha256(body) != to_digest(header.body_checksum))
      return damaged(path, "its checksum does not match");
  }
  return std::shared_ptr<const LayerIndex>(
      std::make_shared<MappedIndex>(std::move(mapping), header));
}

}  // namespace kasane::store
