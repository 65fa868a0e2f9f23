#include "tar/writer.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

#include "tar/header.h"
#include "tar/path.h"
#include "tar/pax.h"
#include "tar/reader.h"
#include "tar/whiteout.h"

namespace kasane::tar {
namespace {

constexpr std::array<uint8_t, 2 * kBlockSize> kZeros{};
constexpr size_t kOtherRecords = 7;  // PAX records that are no xattrs

char type_flag(EntryType type) {
  switch (type) {
    case EntryType::kFile:
      return '0';
    case EntryType::kHardlink:
      return '1';
    case EntryType::kSymlink:
      return '2';
    case EntryType::kCharDevice:
      return '3';
    case EntryType::kBlockDevice:
      return '4';
    case EntryType::kDirectory:
      return '5';
    case EntryType::kFifo:
      return '6';
  }
  return '0';
}

bool is_device(const Entry& entry) {
  return entry.type == EntryType::kCharDevice || entry.type == EntryType::kBlockDevice;
}

bool is_link(const Entry& entry) {
  return entry.type == EntryType::kSymlink || entry.type == EntryType::kHardlink;
}

bool is_utf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto byte = [&](size_t k) { return static_cast<unsigned char>(text[k]); };
    const unsigned char lead = byte(i);
    const size_t size = lead < 0x80   ? 1
                        : lead < 0xc2 ? 0
                        : lead < 0xe0 ? 2
                        : lead < 0xf0 ? 3
                        : lead < 0xf5 ? 4
                                      : 0;
    if (size == 0 || i + size > text.size()) return false;
    uint32_t code = size == 1 ? lead : lead & (0x7fu >> size);
    for (size_t k = 1; k < size; ++k) {
      if ((byte(i + k) & 0xc0) != 0x80) return false;
      code = code << 6 | (byte(i + k) & 0x3fu);
    }
    if ((size == 3 && code < 0x800) || (size == 4 && (code < 0x10000 || code > 0x10ffff)) ||
        (code >= 0xd800 && code < 0xe000))
      return false;
    i += size;
  }
  return true;
}

template <size_t N>
void put_text(char (&field)[N], std::string_view text) {
  std::memcpy(field, text.data(), std::min(N, text.size()));
}

// Into name, or prefix and name split at a '/' (the longest prefix that fits). Bytes above
// 0x7f stay as they are: every reader that matters takes them. False when it does not fit;
// then the field holds the head of the name, for readers that know no PAX.
bool put_name(RawHeader& header, std::string_view name) {
  put_text(header.name, name);
  if (name.size() <= sizeof header.name) return true;
  const size_t slash = name.rfind('/', sizeof header.prefix);
  // A directory's own trailing slash must stay in the name field with something before it.
  if (slash == std::string_view::npos || slash == 0 || slash + 1 == name.size() ||
      name.size() - slash - 1 > sizeof header.name)
    return false;
  std::memset(header.name, 0, sizeof header.name);
  put_text(header.prefix, name.substr(0, slash));
  put_text(header.name, name.substr(slash + 1));
  return true;
}

template <size_t N>
bool put_number(char (&field)[N], uint64_t value, uint64_t max) {
  put_octal(field, value <= max ? value : 0);
  return value <= max;
}

void put_fixed(RawHeader& header, char flag) {
  header.typeflag = flag;
  std::memcpy(header.magic, "ustar", 6);
  std::memcpy(header.version, "00", 2);
}

// Fills the ustar header and appends a PAX record for each value that it cannot hold.
// Their order is fixed: hdrcharset, path, linkpath, size, uid, gid, mtime, xattrs by name.
void put_entry(const Entry& entry, const std::string& name, RawHeader& header,
               std::string& records) {
  put_fixed(header, type_flag(entry.type));
  put_number(header.mode, entry.mode, kMaxOctal7);
  const bool long_name = !put_name(header, name);
  bool long_link = false;
  if (is_link(entry)) {
    put_text(header.linkname, entry.link_target);
    long_link = entry.link_target.size() > sizeof header.linkname;
  }
  if ((long_name && !is_utf8(name)) || (long_link && !is_utf8(entry.link_target)))
    append_pax_record(records, "hdrcharset", "BINARY");
  if (long_name) append_pax_record(records, "path", name);
  if (long_link) append_pax_record(records, "linkpath", entry.link_target);
  const uint64_t size = entry.type == EntryType::kFile ? entry.size : 0;
  if (!put_number(header.size, size, kMaxOctal11))
    append_pax_record(records, "size", std::to_string(size));
  if (!put_number(header.uid, entry.uid, kMaxOctal7))
    append_pax_record(records, "uid", std::to_string(entry.uid));
  if (!put_number(header.gid, entry.gid, kMaxOctal7))
    append_pax_record(records, "gid", std::to_string(entry.gid));
  const uint64_t seconds = static_cast<uint64_t>(std::max<int64_t>(entry.mtime.sec, 0));
  const bool plain_time = put_number(header.mtime, seconds, kMaxOctal11);
  if (!plain_time || entry.mtime.sec < 0 || entry.mtime.nsec != 0)
    append_pax_record(records, "mtime", format_pax_time(entry.mtime));
  for (const Xattr& xattr : entry.xattrs)
    append_pax_record(records, "SCHILY.xattr." + encode_xattr_key(xattr.name), xattr.value);
  if (is_device(entry)) {
    put_number(header.dev_major, entry.dev_major, kMaxOctal7);
    put_number(header.dev_minor, entry.dev_minor, kMaxOctal7);
  }
  put_checksum(header);
}

void append_block(std::string& out, const RawHeader& header) {
  out.append(reinterpret_cast<const char*>(&header), kBlockSize);
}

// The 'x' header has the same name, owner and time for every member, so that its bytes
// depend on its records alone.
void append_pax_header(std::string& out, std::string_view records) {
  RawHeader header{};
  put_fixed(header, 'x');
  put_text(header.name, "PaxHeaders/member");
  put_octal(header.mode, 0644);
  put_octal(header.uid, 0);
  put_octal(header.gid, 0);
  put_octal(header.size, records.size());
  put_octal(header.mtime, 0);
  put_checksum(header);
  append_block(out, header);
  out += records;
  out.append(padding_of(records.size()), '\0');
}

}  // namespace

Error Writer::broken(std::string what) {
  state_ = State::kFailed;
  return Error(ErrorKind::kInternal, "tar writer: " + std::move(what));
}

Result<void> Writer::emit(std::span<const uint8_t> bytes) {
  Result<void> written = out_.write(bytes);
  if (!written) state_ = State::kFailed;
  offset_ += bytes.size();
  return written;
}

Result<void> Writer::check(const Entry& entry) const {
  const auto bad = [&](std::string_view what) {
    return Error(ErrorKind::kInternal,
                 "tar writer: entry '" + entry.path + "' " + std::string(what));
  };
  if (!is_normalised_path(entry.path)) return bad("has a path that is not normalised");
  if (any_ && compare_paths(previous_, entry.path) >= 0)
    return bad("comes after '" + previous_ + "', out of order");
  if (entry.path.empty() && entry.type != EntryType::kDirectory)
    return bad("is the root but not a directory");
  if (entry.mode > 07777 || entry.mtime.nsec >= 1'000'000'000) return bad("has a bad mode or time");
  if (entry.type != EntryType::kFile && entry.size != 0) return bad("has content but is no file");
  if (entry.size > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
    return bad("is too large");
  if (is_link(entry) && (entry.link_target.empty() || entry.link_target.size() > kMaxPathBytes ||
                         entry.link_target.find('\0') != std::string::npos))
    return bad("has a bad link target");
  if (entry.type == EntryType::kHardlink &&
      (!is_normalised_path(entry.link_target) || entry.link_target == entry.path))
    return bad("is a hard link with a bad target");
  for (size_t i = 0; i < entry.xattrs.size(); ++i) {
    const std::string& name = entry.xattrs[i].name;
    if (name.empty() || name.size() > 255 || name.find('\0') != std::string::npos)
      return bad("has an extended attribute with a bad name");
    if (i > 0 && entry.xattrs[i - 1].name >= name) return bad("has unsorted extended attributes");
    if (is_overlay_xattr(name)) return bad("has the overlayfs control attribute " + name);
  }
  return {};
}

// What a file system may hold but a layer cannot.
Result<void> Writer::check_limits(const Entry& entry) const {
  constexpr ReaderLimits kLimits;
  bool fits = entry.xattrs.size() + kOtherRecords <= kLimits.max_pax_records;
  for (const Xattr& xattr : entry.xattrs) fits &= xattr.value.size() <= kLimits.max_xattr_bytes;
  if (!fits || records_.size() > kLimits.max_extended_header_bytes)
    return Error(ErrorKind::kLimit, "'" + entry.path +
                                        "' has too many or too large extended "
                                        "attributes (64 KiB each, 1 MiB together)");
  if (is_device(entry) && std::max(entry.dev_major, entry.dev_minor) > kMaxOctal7)
    return Error(ErrorKind::kInvalid, "device '" + entry.path + "' has a number too large for tar");
  if (entry.mtime.sec == std::numeric_limits<int64_t>::min())
    return Error(ErrorKind::kInvalid, "the time of '" + entry.path + "' is too early for tar");
  return {};
}

Result<Placement> Writer::begin(const Entry& entry) {
  if (state_ != State::kBetween) return broken("begin() out of turn");
  if (Result<void> checked = check(entry); !checked) {
    state_ = State::kFailed;
    return checked.error();
  }
  previous_ = entry.path;
  any_ = true;
  name_ = entry.path.empty() ? "." : entry.path;
  if (entry.type == EntryType::kDirectory) name_ += '/';
  RawHeader header{};
  records_.clear();
  put_entry(entry, name_, header, records_);
  if (Result<void> checked = check_limits(entry); !checked) {
    state_ = State::kFailed;
    return checked.error();
  }
  headers_.clear();
  if (!records_.empty()) append_pax_header(headers_, records_);
  append_block(headers_, header);
  Placement placement{offset_, offset_ + headers_.size()};
  TRY(emit({reinterpret_cast<const uint8_t*>(headers_.data()), headers_.size()}));
  remaining_ = entry.size;
  padding_ = padding_of(entry.size);
  state_ = State::kInMember;
  return placement;
}

Result<void> Writer::write(std::span<const uint8_t> bytes) {
  if (state_ != State::kInMember) return broken("write() outside of a member");
  if (bytes.size() > remaining_)
    return broken("'" + previous_ + "' got more content than its size says");
  remaining_ -= bytes.size();
  return emit(bytes);
}

Result<void> Writer::finish_member() {
  if (state_ != State::kInMember) return broken("finish_member() outside of a member");
  if (remaining_ > 0)
    return broken("'" + previous_ + "' lacks " + std::to_string(remaining_) +
                  " bytes of its content");
  state_ = State::kBetween;
  return padding_ > 0 ? emit(std::span(kZeros).first(padding_)) : Result<void>();
}

Result<void> Writer::finish() {
  if (state_ != State::kBetween) return broken("finish() out of turn");
  state_ = State::kFinished;
  return emit(kZeros);
}

}  // namespace kasane::tar
