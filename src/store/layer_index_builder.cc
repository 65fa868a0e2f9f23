#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <numeric>

#include "base/stream.h"
#include "store/index_format.h"
#include "store/layer_index.h"
#include "tar/path.h"
#include "tar/whiteout.h"

namespace kasane::store {
namespace {

using index_format::Header;
using index_format::Record;
using index_format::XattrHead;

bool is_below(std::string_view path, std::string_view directory) {
  if (directory.empty()) return !path.empty();
  return path.size() > directory.size() && path[directory.size()] == '/' &&
         path.starts_with(directory);
}

// Parents come before their children, so the chain of ancestors is a stack. Returns
// whether some parent is not listed.
Result<bool> check_parents(const std::vector<IndexedEntry>& entries) {
  std::vector<const tar::Entry*> ancestors;
  bool implicit = false;
  for (const IndexedEntry& indexed : entries) {
    const tar::Entry& entry = indexed.entry;
    while (!ancestors.empty() && !is_below(entry.path, ancestors.back()->path))
      ancestors.pop_back();
    if (!ancestors.empty() && ancestors.back()->type != tar::EntryType::kDirectory)
      return Error(ErrorKind::kInvalid, "layer entry '" + entry.path + "' lies below '" +
                                            ancestors.back()->path +
                                            "', which the same layer makes something other than "
                                            "a directory");
    if (entry.path.empty() && entry.type != tar::EntryType::kDirectory)
      return Error(ErrorKind::kInvalid,
                   "the layer makes its root something other than a directory");
    const std::string_view parent = tar::parent_path(entry.path);
    if (!parent.empty() && (ancestors.empty() || ancestors.back()->path != parent)) implicit = true;
    ancestors.push_back(&entry);
  }
  return implicit;
}

Error bad_link(const tar::Entry& link, std::string_view why) {
  return Error(ErrorKind::kInvalid, "hard link '" + link.path + "' names '" + link.link_target +
                                        "', which " + std::string(why))
      .hint("the target of a hard link must be an earlier member of the same layer");
}

// Hard links in tar order, so that every target is settled before it is used: time stays
// linear for chains of any length. Returns whether a link target was changed.
Result<bool> settle_links(std::vector<IndexedEntry>& entries) {
  std::vector<IndexedEntry*> links;
  for (IndexedEntry& entry : entries)
    if (entry.entry.type == tar::EntryType::kHardlink) links.push_back(&entry);
  std::stable_sort(links.begin(), links.end(), [](const IndexedEntry* a, const IndexedEntry* b) {
    return a->header_offset < b->header_offset;
  });
  bool changed = false;
  for (IndexedEntry* link : links) {
    tar::Entry& entry = link->entry;
    auto target = std::lower_bound(entries.begin(), entries.end(), entry.link_target,
                                   [](const IndexedEntry& e, const std::string& path) {
                                     return tar::compare_paths(e.entry.path, path) < 0;
                                   });
    if (target == entries.end() || target->entry.path != entry.link_target)
      return bad_link(entry, "is not in this layer");
    if (target->entry.type == tar::EntryType::kDirectory) return bad_link(entry, "is a directory");
    if (&*target == link) return bad_link(entry, "is the link itself");
    if (target->header_offset >= link->header_offset)
      return bad_link(entry, "comes later in the layer or is replaced later");
    if (target->entry.type == tar::EntryType::kHardlink) {
      entry.link_target = target->entry.link_target;
      changed = true;
    }
  }
  return changed;
}

// Fields of one entry with their lengths, so that no two entries give the same bytes.
void append_identity(const IndexedEntry& indexed, std::string& out) {
  const tar::Entry& entry = indexed.entry;
  auto number = [&](uint64_t value) {
    out.append(reinterpret_cast<const char*>(&value), sizeof value);
  };
  auto text = [&](std::string_view value) {
    number(value.size());
    out += value;
  };
  text(entry.path);
  number(static_cast<uint64_t>(entry.type));
  number(entry.mode & 07777);
  number(entry.uid);
  number(entry.gid);
  number(entry.size);
  out.append(reinterpret_cast<const char*>(indexed.content.bytes.data()), 32);
  text(entry.link_target);
  number(entry.dev_major);
  number(entry.dev_minor);
  number(entry.xattrs.size());
  for (const tar::Xattr& xattr : entry.xattrs) {
    text(xattr.name);
    text(xattr.value);
  }
}

Sha256Digest content_id_of(const std::vector<IndexedEntry>& entries) {
  FieldHash hash("kasane layer content 1");
  std::string identity;
  for (const IndexedEntry& entry : entries) {
    identity.clear();
    append_identity(entry, identity);
    hash.add(identity);
  }
  return hash.finish();
}

// Empty when the tar has the entries in index order.
std::vector<uint32_t> tar_order_of(const std::vector<IndexedEntry>& entries) {
  auto before = [&](uint32_t a, uint32_t b) {
    return entries[a].header_offset < entries[b].header_offset;
  };
  bool identity = true;
  for (size_t i = 1; i < entries.size() && identity; ++i)
    identity = entries[i - 1].header_offset <= entries[i].header_offset;
  if (identity) return {};
  std::vector<uint32_t> order(entries.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), before);
  return order;
}

// Collects small writes.
class BufferedSink : public ByteSink {
 public:
  explicit BufferedSink(ByteSink& out) : out_(out) { buffer_.reserve(kSize); }
  Result<void> write(std::span<const uint8_t> bytes) override {
    if (buffer_.size() + bytes.size() > kSize) TRY(flush());
    if (bytes.size() >= kSize) return out_.write(bytes);
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
    return {};
  }
  Result<void> write_text(std::string_view text) {
    return write({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  }
  template <class T>
  Result<void> write_object(const T& object) {
    return write({reinterpret_cast<const uint8_t*>(&object), sizeof object});
  }
  Result<void> flush() {
    if (buffer_.empty()) return {};
    Result<void> written = out_.write(buffer_);
    buffer_.clear();
    return written;
  }

 private:
  static constexpr size_t kSize = 256 * 1024;
  ByteSink& out_;
  std::vector<uint8_t> buffer_;
};

struct PoolSizes {
  uint64_t strings = 0;
  uint64_t xattrs = 0;
};

Result<void> check_sizes(const tar::Entry& entry) {
  if (entry.path.size() > tar::kMaxPathBytes || entry.link_target.size() > UINT16_MAX ||
      entry.xattrs.size() > UINT16_MAX)
    return Error(ErrorKind::kLimit, "layer entry '" + entry.path.substr(0, 200) +
                                        "' has a name, a link target or more extended attributes "
                                        "than an index can hold");
  for (const tar::Xattr& xattr : entry.xattrs)
    if (xattr.name.size() > UINT16_MAX || xattr.value.size() > UINT32_MAX)
      return Error(ErrorKind::kLimit,
                   "layer entry '" + entry.path + "' has an extended attribute that is too large");
  return {};
}

Record to_record(const IndexedEntry& indexed, PoolSizes& pools) {
  const tar::Entry& entry = indexed.entry;
  Record record{};
  record.size = entry.size;
  record.mtime_sec = entry.mtime.sec;
  record.mtime_nsec = entry.mtime.nsec;
  record.header_offset = indexed.header_offset;
  record.data_offset = indexed.data_offset;
  record.raw_size = indexed.raw_size;
  std::memcpy(record.content, indexed.content.bytes.data(), sizeof record.content);
  record.uid = entry.uid;
  record.gid = entry.gid;
  record.dev_major = entry.dev_major;
  record.dev_minor = entry.dev_minor;
  record.mode = static_cast<uint16_t>(entry.mode & 07777);
  record.type = static_cast<uint8_t>(entry.type);
  record.flags = indexed.sparse ? index_format::kSparse : 0;
  record.path_offset = static_cast<uint32_t>(pools.strings);
  record.path_size = static_cast<uint16_t>(entry.path.size());
  pools.strings += entry.path.size();
  record.link_offset = static_cast<uint32_t>(pools.strings);
  record.link_size = static_cast<uint16_t>(entry.link_target.size());
  pools.strings += entry.link_target.size();
  record.xattr_offset = static_cast<uint32_t>(pools.xattrs);
  record.xattr_count = static_cast<uint16_t>(entry.xattrs.size());
  for (const tar::Xattr& xattr : entry.xattrs)
    pools.xattrs += sizeof(XattrHead) + xattr.name.size() + xattr.value.size();
  return record;
}

Result<PoolSizes> write_body(const std::vector<IndexedEntry>& entries,
                             const std::vector<uint32_t>& order, BufferedSink& out) {
  PoolSizes pools;
  for (const IndexedEntry& entry : entries) {
    TRY(check_sizes(entry.entry));
    TRY(out.write_object(to_record(entry, pools)));
    if (pools.strings > UINT32_MAX || pools.xattrs > UINT32_MAX)
      return Error(ErrorKind::kLimit, "the names or extended attributes of a layer exceed 4 GiB");
  }
  for (uint32_t position : order) TRY(out.write_object(position));
  for (const IndexedEntry& entry : entries) {
    TRY(out.write_text(entry.entry.path));
    TRY(out.write_text(entry.entry.link_target));
  }
  for (const IndexedEntry& entry : entries) {
    for (const tar::Xattr& xattr : entry.entry.xattrs) {
      XattrHead head{static_cast<uint32_t>(xattr.value.size()),
                     static_cast<uint16_t>(xattr.name.size()), 0};
      TRY(out.write_object(head));
      TRY(out.write_text(xattr.name));
      TRY(out.write_text(xattr.value));
    }
  }
  TRY(out.flush());
  return pools;
}

Header to_header(const LayerSummary& summary, uint32_t flags, size_t order_count,
                 const PoolSizes& pools, const Sha256Digest& body) {
  Header header{};
  std::memcpy(header.magic, index_format::kMagic, sizeof header.magic);
  header.version = index_format::kVersion;
  header.header_size = sizeof(Header);
  header.record_size = sizeof(Record);
  header.flags = flags;
  header.entry_count = summary.entry_count;
  header.order_count = order_count;
  header.strings_size = pools.strings;
  header.xattrs_size = pools.xattrs;
  header.tar_size = summary.tar_size;
  header.content_size = summary.content_size;
  std::memcpy(header.diff_id, summary.diff_id.bytes.data(), 32);
  std::memcpy(header.content_id, summary.content_id.bytes.data(), 32);
  std::memcpy(header.body_checksum, body.bytes.data(), 32);
  const Sha256Digest checksum =
      sha256({reinterpret_cast<const uint8_t*>(&header), offsetof(Header, header_checksum)});
  std::memcpy(header.header_checksum, checksum.bytes.data(), 32);
  return header;
}

Result<void> write_file(const std::string& path, const std::vector<IndexedEntry>& entries,
                        const LayerSummary& summary, uint32_t flags, bool sync) {
  UniqueFd fd = TRY(open_file(path, O_WRONLY | O_CREAT | O_TRUNC, 0644));
  if (::lseek(fd.get(), sizeof(Header), SEEK_SET) < 0)
    return Error::from_errno(errno, "seek " + path);
  FdSink file(fd.get(), path);
  HashingSink hashed(&file);
  BufferedSink out(hashed);
  const std::vector<uint32_t> order = tar_order_of(entries);
  const PoolSizes pools = TRY(write_body(entries, order, out));
  const Header header = to_header(summary, flags, order.size(), pools, hashed.finish());
  if (::lseek(fd.get(), 0, SEEK_SET) < 0) return Error::from_errno(errno, "seek " + path);
  TRY(file.write({reinterpret_cast<const uint8_t*>(&header), sizeof header}));
  if (sync) TRY(sync_fd(fd.get(), path));
  return {};
}

}  // namespace

void LayerIndexBuilder::add(IndexedEntry entry) {
  if (sorted_ && !entries_.empty() &&
      tar::compare_paths(entries_.back().entry.path, entry.entry.path) >= 0)
    sorted_ = false;
  entries_.push_back(std::move(entry));
}

Result<void> LayerIndexBuilder::settle() {
  if (!sorted_) {
    std::stable_sort(entries_.begin(), entries_.end(),
                     [](const IndexedEntry& a, const IndexedEntry& b) {
                       return tar::compare_paths(a.entry.path, b.entry.path) < 0;
                     });
    // Of equal paths the last one added stays.
    size_t kept = 0;
    for (size_t i = 0; i < entries_.size(); ++i) {
      if (i + 1 < entries_.size() && entries_[i].entry.path == entries_[i + 1].entry.path) {
        duplicates_ = true;
        continue;
      }
      if (kept != i) entries_[kept] = std::move(entries_[i]);
      ++kept;
    }
    entries_.resize(kept);
    sorted_ = true;
  }
  implicit_parents_ = TRY(check_parents(entries_));
  links_changed_ = TRY(settle_links(entries_));
  return {};
}

Result<LayerSummary> LayerIndexBuilder::write(const std::string& path, const Sha256Digest& diff_id,
                                              uint64_t tar_size, bool canonical, bool sync) {
  TRY(settle());
  if (entries_.size() > UINT32_MAX)
    return Error(ErrorKind::kLimit, "a layer has more than 4294967295 entries");
  LayerSummary summary;
  summary.diff_id = diff_id;
  summary.content_id = content_id_of(entries_);
  summary.tar_size = tar_size;
  summary.entry_count = entries_.size();
  summary.canonical = canonical && !duplicates_ && !links_changed_;
  bool whiteouts = false;
  for (const IndexedEntry& entry : entries_) {
    if (entry.entry.type == tar::EntryType::kFile) summary.content_size += entry.entry.size;
    whiteouts |= tar::base_name(entry.entry.path).starts_with(tar::kWhiteoutPrefix);
  }
  const uint32_t flags = (summary.canonical ? index_format::kCanonical : 0u) |
                         (whiteouts ? index_format::kHasWhiteouts : 0u) |
                         (implicit_parents_ ? index_format::kHasImplicitParents : 0u);
  TRY(write_file(path, entries_, summary, flags, sync));
  return summary;
}

}  // namespace kasane::store
