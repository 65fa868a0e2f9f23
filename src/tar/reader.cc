#include "tar/reader.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>

#include "tar/header.h"
#include "tar/input.h"
#include "tar/path.h"
#include "tar/pax.h"
#include "tar/sparse.h"

namespace kasane::tar {
namespace {

Error corrupt(std::string what) { return Error(ErrorKind::kCorrupt, std::move(what)); }

// What x, L and K headers say about the member after them.
struct Extensions {
  std::optional<PaxHeader> pax;
  std::optional<std::string> long_name;
  std::optional<std::string> long_link;
  bool any() const { return pax || long_name || long_link; }
};

Result<int64_t> field_number(std::span<const char> field, const char* name, int64_t max) {
  const std::optional<int64_t> value = parse_number(field);
  if (!value || *value > max)
    return corrupt(std::string("the header field '") + name + "' is not a valid number");
  return *value;
}

Result<uint64_t> unsigned_field(std::span<const char> field, const char* name,
                                int64_t max = std::numeric_limits<int64_t>::max()) {
  const int64_t value = TRY(field_number(field, name, max));
  if (value < 0) return corrupt(std::string("the header field '") + name + "' is negative");
  return static_cast<uint64_t>(value);
}

Result<uint64_t> size_field(const RawHeader& header) {
  // Other readers take blanks for an error or for 0; nobody writes them.
  if (header.size[0] != '\0' && text_field(header.size).find_first_not_of(' ') == std::string::npos)
    return corrupt("the header has no size");
  return unsigned_field(header.size, "size");
}

Result<std::string> header_name(const RawHeader& header) {
  const std::string_view name = text_field(header.name);
  const std::string_view prefix = text_field(header.prefix);
  if (header_format(header) != HeaderFormat::kUstar || prefix.empty()) return std::string(name);
  // Readers judge the prefix by the version, or cut it for star's times: refuse the doubt.
  const bool star = std::memcmp(header.unused + 8, "tar\0", 4) == 0;
  if (std::memcmp(header.version, "00", 2) != 0 || (star && prefix.size() > 130))
    return corrupt("the header has a name prefix in an unknown format");
  return std::string(prefix) + "/" + std::string(name);
}

std::optional<EntryType> type_of(char flag) {
  switch (flag) {
    case '\0':
    case '0':
    case '7':  // "contiguous": an ordinary file on every system of today
    case 'S':
      return EntryType::kFile;
    case '1':
      return EntryType::kHardlink;
    case '2':
      return EntryType::kSymlink;
    case '3':
      return EntryType::kCharDevice;
    case '4':
      return EntryType::kBlockDevice;
    case '5':
      return EntryType::kDirectory;
    case '6':
      return EntryType::kFifo;
    default:
      return std::nullopt;
  }
}

std::string flag_text(char flag) {
  if (flag > ' ' && flag < 0x7f) return std::string("'") + flag + "'";
  return std::to_string(static_cast<unsigned char>(flag));
}

}  // namespace

struct Reader::Impl {
  Impl(ByteSource& source, const ReaderLimits& reader_limits, ByteSink* skeleton)
      : input(source, skeleton), limits(reader_limits) {}

  Result<std::optional<Member>> next();
  Result<size_t> read(std::span<uint8_t> buffer);

  Result<void> finish_member();
  Result<std::optional<RawHeader>> take_extensions(Extensions& extensions, uint64_t& start);
  Result<void> take_extension(const RawHeader& header, Extensions& extensions);
  Result<std::string> take_payload(const RawHeader& header);
  Result<std::string> long_text(const RawHeader& header);  // consume `header` too

  Result<Member> build(const RawHeader& header, Extensions& extensions);
  Result<void> set_entry(const RawHeader& header, Extensions& extensions, std::string_view raw_name,
                         Member& member);
  Result<void> set_type(const RawHeader& header, std::string_view raw_name, Entry& entry);
  Result<void> set_link(const RawHeader& header, const Extensions& extensions, Entry& entry);
  Result<void> set_numbers(const RawHeader& header, const Extensions& extensions, Entry& entry);
  Result<uint64_t> stored_size(const RawHeader& header, const Extensions& extensions);
  Result<void> set_content(const RawHeader& header, Extensions& extensions, uint64_t stored,
                           Member& member);
  Result<void> skip_payload_of(const Entry& entry, uint64_t stored);
  Result<void> charge(const Member& member);

  BlockInput input;
  ReaderLimits limits;
  std::optional<Timespec> global_mtime;
  std::optional<Error> failure;
  bool done = false;
  uint64_t entries = 0;
  uint64_t expanded = 0;
  uint64_t holes = 0;

  // The current member.
  uint64_t raw_left = 0;  // stored content not yet consumed
  uint64_t padding = 0;
  uint64_t position = 0;  // in the expanded content
  uint64_t size = 0;
  std::vector<SparseRegion> regions;  // one that covers the file when it is not sparse
  size_t region = 0;
};

Result<std::string> Reader::Impl::take_payload(const RawHeader& header) {
  const uint64_t bytes = TRY(size_field(header));
  if (bytes > limits.max_extended_header_bytes)
    return Error(ErrorKind::kLimit, "an extended header is larger than " +
                                        std::to_string(limits.max_extended_header_bytes) +
                                        " bytes");
  TRY(input.take_block());
  std::string payload;
  TRY(input.take_text(bytes, payload));
  TRY(input.skip(padding_of(bytes), false));
  return payload;
}

Result<std::string> Reader::Impl::long_text(const RawHeader& header) {
  std::string text = TRY(take_payload(header));
  const size_t end = std::min(text.find('\0'), text.size());
  if (text.find_first_not_of('\0', end) != std::string::npos)
    return corrupt("a long name holds a NUL byte");
  text.resize(end);
  if (text.empty()) return corrupt("a long name is empty");
  return text;
}

Result<void> Reader::Impl::take_extension(const RawHeader& header, Extensions& extensions) {
  const char flag = header.typeflag;
  const bool is_pax = flag == 'x' || flag == 'g';
  // One x, or one L and one K: readers differ on who wins in any other mixture (X9).
  const bool repeated = flag == 'L' ? extensions.long_name.has_value()
                                    : flag == 'K' && extensions.long_link.has_value();
  if ((is_pax && extensions.any()) || (!is_pax && extensions.pax) || repeated)
    return corrupt("several extended headers contradict each other");
  if (flag == 'x') {
    const std::string payload = TRY(take_payload(header));
    extensions.pax = TRY(parse_pax(payload, limits));
  } else if (flag == 'g') {
    const std::string payload = TRY(take_payload(header));
    const std::optional<Timespec> mtime = TRY(parse_global_pax(payload, limits));
    if (mtime) global_mtime = mtime;
  } else if (flag == 'L') {
    extensions.long_name = TRY(long_text(header));
  } else {
    extensions.long_link = TRY(long_text(header));
  }
  return {};
}

// Consumes up to and with the member's own header; none at the end of the archive.
Result<std::optional<RawHeader>> Reader::Impl::take_extensions(Extensions& extensions,
                                                               uint64_t& start) {
  for (;;) {
    const uint64_t offset = input.offset();
    if (!extensions.any()) start = offset;
    const RawHeader* header = TRY(input.peek_block());
    const bool zero = header && all_zero({reinterpret_cast<const uint8_t*>(header), kBlockSize});
    if (!header || zero) {
      if (extensions.any()) return corrupt("an extended header has no member");
      if (zero) TRY(input.drain_zeros());
      return std::optional<RawHeader>();
    }
    if (!checksum_matches(*header))
      return corrupt("block at byte " + std::to_string(offset) +
                     " is not a tar header (wrong checksum)");
    const char flag = header->typeflag;
    if (flag != 'x' && flag != 'g' && flag != 'L' && flag != 'K') {
      const RawHeader copy = *header;
      TRY(input.take_block());
      return std::optional<RawHeader>(copy);
    }
    TRY_CONTEXT(take_extension(*header, extensions),
                "extended header at byte " + std::to_string(offset));
  }
}

Result<void> Reader::Impl::set_type(const RawHeader& header, std::string_view raw_name,
                                    Entry& entry) {
  const std::optional<EntryType> type = type_of(header.typeflag);
  if (!type)
    return Error(ErrorKind::kInvalid,
                 "type " + flag_text(header.typeflag) + " is not one that a layer can hold");
  entry.type = *type;
  if (entry.type != EntryType::kFile || !raw_name.ends_with('/')) return {};
  // v7 marks directories by the slash; for '0' GNU tar does the same but Go does not.
  if (header.typeflag != '\0') return corrupt("a regular file has a name that ends with '/'");
  entry.type = EntryType::kDirectory;
  if (TRY(size_field(header)) != 0) return corrupt("a directory has content");
  return {};
}

Result<void> Reader::Impl::set_link(const RawHeader& header, const Extensions& extensions,
                                    Entry& entry) {
  if (entry.type != EntryType::kSymlink && entry.type != EntryType::kHardlink) return {};
  std::string target(text_field(header.linkname));
  if (extensions.long_link) target = *extensions.long_link;
  if (extensions.pax && extensions.pax->link_path) target = *extensions.pax->link_path;
  if (target.empty()) return corrupt("a link has no target");
  if (target.size() > kMaxPathBytes)
    return Error(ErrorKind::kLimit,
                 "the target of a link is longer than " + std::to_string(kMaxPathBytes) + " bytes");
  if (entry.type == EntryType::kHardlink) {
    target = TRY_CONTEXT(normalise_member_path(target), "hard link to '" + target + "'");
    if (target.empty() || target == entry.path)
      return Error(ErrorKind::kInvalid, "a hard link to itself or to the root directory");
  }
  entry.link_target = std::move(target);
  return {};
}

Result<void> Reader::Impl::set_numbers(const RawHeader& header, const Extensions& extensions,
                                       Entry& entry) {
  constexpr int64_t kMaxId = std::numeric_limits<uint32_t>::max();
  entry.mode = static_cast<uint32_t>(TRY(unsigned_field(header.mode, "mode", kMaxId))) & 07777;
  entry.uid = static_cast<uint32_t>(TRY(unsigned_field(header.uid, "uid", kMaxId)));
  entry.gid = static_cast<uint32_t>(TRY(unsigned_field(header.gid, "gid", kMaxId)));
  entry.mtime.sec = TRY(field_number(header.mtime, "mtime", std::numeric_limits<int64_t>::max()));
  if (global_mtime) entry.mtime = *global_mtime;
  if (extensions.pax) {
    const PaxHeader& pax = *extensions.pax;
    entry.uid = pax.uid.value_or(entry.uid);
    entry.gid = pax.gid.value_or(entry.gid);
    entry.mtime = pax.mtime.value_or(entry.mtime);
  }
  const bool device = entry.type == EntryType::kCharDevice || entry.type == EntryType::kBlockDevice;
  if (!device || header_format(header) == HeaderFormat::kV7) return {};
  entry.dev_major =
      static_cast<uint32_t>(TRY(unsigned_field(header.dev_major, "devmajor", kMaxId)));
  entry.dev_minor =
      static_cast<uint32_t>(TRY(unsigned_field(header.dev_minor, "devminor", kMaxId)));
  return {};
}

Result<uint64_t> Reader::Impl::stored_size(const RawHeader& header, const Extensions& extensions) {
  const uint64_t own = TRY(size_field(header));
  if (!extensions.pax || !extensions.pax->size) return own;
  const uint64_t stored = *extensions.pax->size;
  // A size that the header itself could hold, yet says otherwise, is there to make readers
  // that ignore PAX see other members (X9, CVE-2025-62518).
  const bool base256 = (static_cast<unsigned char>(header.size[0]) & 0x80) != 0;
  if (own != stored && (stored <= kMaxOctal11 || base256))
    return corrupt("the header says " + std::to_string(own) + " bytes of content, its PAX header " +
                   std::to_string(stored));
  return stored;
}

// GNU tar, Go and Python read a header right after a link or directory, whatever size it
// has. A hard link may still carry data (POSIX); it is skipped when all agree that it is no
// header (X6). For the other types readers disagree.
Result<void> Reader::Impl::skip_payload_of(const Entry& entry, uint64_t stored) {
  if (stored == 0 || entry.type == EntryType::kDirectory) return {};
  if (entry.type != EntryType::kHardlink) return corrupt("a member that is not a file has content");
  uint64_t blocks = stored / kBlockSize + (stored % kBlockSize != 0);
  for (bool first = true; blocks > 0; --blocks, first = false) {
    const RawHeader* block = TRY(input.peek_block());
    const bool is_end = !block || all_zero({reinterpret_cast<const uint8_t*>(block), kBlockSize});
    if (first && (is_end || checksum_matches(*block))) return {};
    if (!block) return corrupt("the archive is cut off in the data of a hard link");
    if (checksum_matches(*block)) return corrupt("the data of a hard link looks like a member");
    TRY(input.take_block());
  }
  return {};
}

Result<void> Reader::Impl::set_content(const RawHeader& header, Extensions& extensions,
                                       uint64_t stored, Member& member) {
  const bool pax_sparse = extensions.pax && extensions.pax->sparse.present;
  const bool gnu_sparse = header.typeflag == 'S';
  member.sparse = pax_sparse || gnu_sparse;
  if (member.entry.type != EntryType::kFile) {
    if (member.sparse) return corrupt("a member that is not a file has a sparse map");
    TRY(skip_payload_of(member.entry, stored));
    member.data_offset = input.offset();
    return {};
  }
  if (pax_sparse && gnu_sparse) return corrupt("a sparse file has two maps");
  padding = padding_of(stored);
  SparseMap map{stored, {{0, stored}}};
  if (gnu_sparse) map = TRY(read_gnu_map(header, input, limits));
  if (pax_sparse) map = TRY(read_pax_map(std::move(extensions.pax->sparse), input, limits, stored));
  TRY(check_map(map, stored));
  member.entry.size = size = map.expanded_size;
  member.raw_size = raw_left = stored;
  member.data_offset = input.offset();
  regions = std::move(map.regions);
  if (member.sparse) member.regions = regions;
  return {};
}

Result<void> Reader::Impl::charge(const Member& member) {
  if (++entries > limits.max_entries)
    return Error(ErrorKind::kLimit,
                 "the archive has more than " + std::to_string(limits.max_entries) + " members");
  const uint64_t bytes = member.entry.size;
  if (bytes > limits.max_expanded_bytes - expanded)
    return Error(ErrorKind::kLimit, "the archive holds more than " +
                                        std::to_string(limits.max_expanded_bytes) +
                                        " bytes of files");
  expanded += bytes;
  const uint64_t hole_bytes = bytes - member.raw_size;
  if (hole_bytes > limits.max_hole_bytes - holes)
    return Error(ErrorKind::kLimit, "the sparse files of the archive have more than " +
                                        std::to_string(limits.max_hole_bytes) + " bytes of holes");
  holes += hole_bytes;
  return {};
}

Result<void> Reader::Impl::set_entry(const RawHeader& header, Extensions& extensions,
                                     std::string_view raw_name, Member& member) {
  Entry& entry = member.entry;
  TRY(set_type(header, raw_name, entry));
  entry.path = TRY(normalise_member_path(raw_name));
  if (entry.path.empty() && entry.type != EntryType::kDirectory)
    return Error(ErrorKind::kInvalid, "the root is not a directory");
  TRY(set_link(header, extensions, entry));
  TRY(set_numbers(header, extensions, entry));
  if (extensions.pax) entry.xattrs = std::move(extensions.pax->xattrs);
  const uint64_t stored = TRY(stored_size(header, extensions));
  TRY(set_content(header, extensions, stored, member));
  return charge(member);
}

Result<Member> Reader::Impl::build(const RawHeader& header, Extensions& extensions) {
  std::string raw_name = TRY(header_name(header));
  if (extensions.long_name) raw_name = std::move(*extensions.long_name);
  if (extensions.pax && extensions.pax->path) raw_name = std::move(*extensions.pax->path);
  if (extensions.pax && extensions.pax->sparse.name)
    raw_name = std::move(*extensions.pax->sparse.name);
  if (raw_name.empty()) return Error(ErrorKind::kInvalid, "it has no name");
  Member member;
  TRY_CONTEXT(set_entry(header, extensions, raw_name, member),
              "'" + raw_name.substr(0, kMaxPathBytes) + "'");
  return member;
}

Result<void> Reader::Impl::finish_member() {
  TRY(input.skip(raw_left, true));
  raw_left = 0;
  TRY(input.skip(padding, false));
  padding = position = size = 0;
  region = 0;
  regions.clear();
  return {};
}

Result<std::optional<Member>> Reader::Impl::next() {
  if (done) return std::optional<Member>();
  TRY(finish_member());
  Extensions extensions;
  uint64_t start = 0;
  const std::optional<RawHeader> header = TRY(take_extensions(extensions, start));
  if (!header) {
    done = true;
    return std::optional<Member>();
  }
  Member member =
      TRY_CONTEXT(build(*header, extensions), "archive member at byte " + std::to_string(start));
  member.header_offset = start;
  return std::optional<Member>(std::move(member));
}

Result<size_t> Reader::Impl::read(std::span<uint8_t> buffer) {
  size_t filled = 0;
  while (filled < buffer.size() && position < size) {
    const std::span<uint8_t> rest = buffer.subspan(filled);
    while (region < regions.size() && position == regions[region].offset + regions[region].size)
      ++region;
    const bool at_end = region == regions.size();
    const uint64_t data_begin = at_end ? size : regions[region].offset;
    size_t n;
    if (position < data_begin) {
      n = std::min<uint64_t>(rest.size(), data_begin - position);
      std::memset(rest.data(), 0, n);
    } else {
      const uint64_t data_end = data_begin + regions[region].size;
      n = TRY(input.read_content(rest.first(std::min<uint64_t>(rest.size(), data_end - position))));
      raw_left -= n;
    }
    position += n;
    filled += n;
  }
  return filled;
}

Reader::Reader(ByteSource& source, const ReaderLimits& limits, ByteSink* skeleton)
    : impl_(std::make_unique<Impl>(source, limits, skeleton)) {}
Reader::~Reader() = default;

Result<std::optional<Member>> Reader::next() {
  if (impl_->failure) return *impl_->failure;
  Result<std::optional<Member>> member = impl_->next();
  if (!member) impl_->failure = member.error();
  return member;
}

Result<size_t> Reader::read(std::span<uint8_t> buffer) {
  if (impl_->failure) return *impl_->failure;
  Result<size_t> n = impl_->read(buffer);
  if (!n) impl_->failure = n.error();
  return n;
}

uint64_t Reader::offset() const { return impl_->input.offset(); }

}  // namespace kasane::tar
