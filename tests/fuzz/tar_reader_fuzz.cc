// Arbitrary bytes as a tar stream. Oracles: reading in pieces of another size gives the
// same members and contents; skeleton and contents together are the input; whatever is
// accepted goes through the writer and comes back the same.
#include <algorithm>
#include <string>
#include <vector>

#include "base/stream.h"
#include "input.h"
#include "tar/path.h"
#include "tar/reader.h"
#include "tar/whiteout.h"
#include "tar/writer.h"

using namespace kasane;
using kasane::fuzz::require;

namespace {

struct Read {
  std::vector<tar::Member> members;
  std::vector<std::string> contents;
  std::string skeleton;
  bool ok = false;
};

class PieceSource : public ByteSource {
 public:
  PieceSource(std::string_view bytes, size_t piece) : inner_(bytes), piece_(piece) {}
  Result<size_t> read(std::span<uint8_t> buffer) override {
    return inner_.read(buffer.first(std::min(buffer.size(), piece_)));
  }

 private:
  MemorySource inner_;
  size_t piece_;
};

Read read_all(std::string_view bytes, size_t piece) {
  Read result;
  tar::ReaderLimits limits;
  limits.max_expanded_bytes = 1 << 20;
  PieceSource source(bytes, piece);
  StringSink skeleton;
  tar::Reader reader(source, limits, &skeleton);
  std::vector<uint8_t> buffer(piece);
  for (;;) {
    Result<std::optional<tar::Member>> member = reader.next();
    if (!member) return result;
    if (!*member) break;
    result.members.push_back(std::move(**member));
    result.contents.emplace_back();
    for (;;) {
      Result<size_t> n = reader.read(buffer);
      if (!n) return result;
      if (*n == 0) break;
      result.contents.back().append(reinterpret_cast<const char*>(buffer.data()), *n);
    }
    require(result.contents.back().size() == result.members.back().entry.size, "size");
  }
  require(reader.offset() == bytes.size(), "everything is consumed");
  result.skeleton = std::move(skeleton.text);
  result.ok = true;
  return result;
}

void check_member(const tar::Member& member) {
  const tar::Entry& entry = member.entry;
  require(tar::is_normalised_path(entry.path), "path is normalised");
  require(entry.mode <= 07777, "mode");
  require(member.header_offset < member.data_offset, "offsets");
  require(entry.type == tar::EntryType::kFile || entry.size == 0, "only files have content");
  require(member.sparse || member.raw_size == entry.size, "raw size");
  (void)tar::classify_whiteout(entry);
}

std::string rebuild(const Read& read) {
  std::string bytes;
  std::string_view skeleton = read.skeleton;
  for (size_t i = 0; i < read.members.size(); ++i) {
    const tar::Member& member = read.members[i];
    const size_t head = member.data_offset - bytes.size();
    require(head <= skeleton.size(), "skeleton is long enough");
    bytes += skeleton.substr(0, head);
    skeleton.remove_prefix(head);
    if (member.sparse) {
      for (const tar::SparseRegion& region : member.regions)
        bytes += read.contents[i].substr(region.offset, region.size);
    } else {
      bytes += read.contents[i];
    }
  }
  return bytes.append(skeleton);
}

bool same(const tar::Entry& a, const tar::Entry& b) {
  return a.type == b.type && a.path == b.path && a.link_target == b.link_target &&
         a.mode == b.mode && a.uid == b.uid && a.gid == b.gid && a.size == b.size &&
         a.mtime.sec == b.mtime.sec && a.mtime.nsec == b.mtime.nsec && a.dev_major == b.dev_major &&
         a.dev_minor == b.dev_minor && a.xattrs.size() == b.xattrs.size() &&
         std::equal(a.xattrs.begin(), a.xattrs.end(), b.xattrs.begin(),
                    [](const tar::Xattr& x, const tar::Xattr& y) {
                      return x.name == y.name && x.value == y.value;
                    });
}

// The members one by one, since their order is not canonical.
void rewrite(const tar::Entry& entry, const std::string& content) {
  StringSink sink;
  tar::Writer writer(sink);
  Result<tar::Placement> placement = writer.begin(entry);
  if (!placement) {
    const ErrorKind kind = placement.error().kind();
    bool overlay = false;
    for (const tar::Xattr& xattr : entry.xattrs) overlay |= tar::is_overlay_xattr(xattr.name);
    require(overlay || kind == ErrorKind::kInvalid || kind == ErrorKind::kLimit,
            "the writer takes what the reader gave");
    return;
  }
  require(
      writer.write({reinterpret_cast<const uint8_t*>(content.data()), content.size()}).has_value(),
      "write");
  require(writer.finish_member().has_value() && writer.finish().has_value(), "finish");
  Read again = read_all(sink.text, 4096);
  require(again.ok && again.members.size() == 1, "what we wrote is readable");
  require(same(again.members[0].entry, entry), "read(write(x)) = x");
  require(again.contents[0] == content, "content survives");
  require(again.members[0].data_offset == placement->data_offset, "offsets agree");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  Read whole = read_all(bytes, 1 << 16);
  Read pieces = read_all(bytes, 97);
  require(whole.ok == pieces.ok, "pieces do not matter");
  for (const tar::Member& member : whole.members) check_member(member);
  if (!whole.ok) return 0;
  require(whole.contents == pieces.contents, "contents do not depend on pieces");
  require(rebuild(whole) == bytes, "skeleton and contents are the input");
  for (size_t i = 0; i < whole.members.size(); ++i)
    rewrite(whole.members[i].entry, whole.contents[i]);
  return 0;
}

// Tar blocks need a right checksum to get anywhere: repair those of what looks like a header.
extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned int seed) {
  size = LLVMFuzzerMutate(data, size, max_size);
  if (seed % 16 == 0) return size;
  for (size_t at = 0; at + 512 <= size; at += 512) {
    uint8_t* block = data + at;
    const bool looks_like_header = std::memcmp(block + 257, "ustar", 5) == 0 || block[154] == 0;
    const bool zero = std::all_of(block, block + 512, [](uint8_t b) { return b == 0; });
    if (!looks_like_header || zero) continue;
    std::memset(block + 148, ' ', 8);
    unsigned sum = 0;
    for (size_t i = 0; i < 512; ++i) sum += block[i];
    for (int i = 5; i >= 0; --i, sum >>= 3) block[148 + i] = static_cast<uint8_t>('0' + (sum & 7));
    block[154] = 0;
  }
  return size;
}
