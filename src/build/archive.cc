#include "build/archive.h"

#include <unistd.h>

#include <cerrno>
#include <charconv>

#include "base/compress.h"
#include "tar/reader.h"
#include "tar/whiteout.h"

namespace kasane::build {
namespace {

constexpr size_t kTarBlock = 512;

// Reads one range of the spool file.
class RangeSource : public ByteSource {
 public:
  RangeSource(int fd, uint64_t offset, uint64_t size) : fd_(fd), offset_(offset), rest_(size) {}
  Result<size_t> read(std::span<uint8_t> buffer) override {
    size_t want = std::min<uint64_t>(buffer.size(), rest_);
    if (want == 0) return size_t{0};
    ssize_t n = ::pread(fd_, buffer.data(), want, static_cast<off_t>(offset_));
    if (n < 0) return Error::from_errno(errno, "read unpacked archive");
    if (n == 0) return Error(ErrorKind::kIo, "unpacked archive is shorter than it was");
    offset_ += static_cast<uint64_t>(n);
    rest_ -= static_cast<uint64_t>(n);
    return static_cast<size_t>(n);
  }

 private:
  int fd_;
  uint64_t offset_, rest_;
};

}  // namespace

Result<bool> is_archive(SourceTree& tree, const SourceEntry& entry) {
  if (entry.entry.size < 2) return false;
  std::unique_ptr<ByteSource> file = TRY(tree.open(entry));
  Result<OpenedStream> opened = open_decompressed(*file);
  if (!opened) return false;  // looks compressed and is not: copied as it is (AD13)
  tar::Reader reader(*opened->source);
  Result<std::optional<tar::Member>> first = reader.next();
  if (!first) return false;
  // An uncompressed file of NULs is an empty tar to tar(1), but not something to unpack.
  return first->has_value();
}

class UnpackedArchives::Spool : public SourceTree {
 public:
  static Result<std::unique_ptr<Spool>> make(store::Store& store) {
    store::Store::Ingest ingest = TRY(store.new_ingest());
    UniqueFd fd = TRY(open_file(ingest.path() + "/spool", O_RDWR | O_CREAT | O_EXCL, 0600));
    return std::unique_ptr<Spool>(new Spool(std::move(ingest), std::move(fd)));
  }

  // Appends the content of the reader's current member and returns it as a source.
  Result<SourcePtr> append(tar::Reader& reader, const tar::Entry& entry) {
    SourceEntry source;
    source.entry = entry;
    source.entry.path = std::to_string(offset_);
    FdSink file(fd_.get(), "unpacked archive");
    HashingSink sink(&file);
    auto buffer = std::make_unique<uint8_t[]>(kChunk);
    for (;;) {
      size_t n = TRY(reader.read(std::span(buffer.get(), kChunk)));
      if (n == 0) break;
      TRY(sink.write(std::span<const uint8_t>(buffer.get(), n)));
    }
    offset_ += sink.size();
    source.entry.size = sink.size();
    source.content = sink.finish();
    return SourcePtr(std::make_shared<const SourceEntry>(std::move(source)));
  }

  Result<SourcePtr> lookup(std::string_view) override { return SourcePtr(); }
  Result<std::vector<SourcePtr>> children(std::string_view) override {
    return std::vector<SourcePtr>();
  }
  Result<std::unique_ptr<ByteSource>> open(const SourceEntry& entry) override {
    uint64_t offset = 0;
    const std::string& name = entry.entry.path;
    std::from_chars(name.data(), name.data() + name.size(), offset);
    return std::unique_ptr<ByteSource>(
        std::make_unique<RangeSource>(fd_.get(), offset, entry.entry.size));
  }
  Result<Sha256Digest> digest(const SourceEntry& entry) override { return *entry.content; }
  void learned(const SourceEntry&, const Sha256Digest&) override {}
  std::string why_absent(std::string_view) override { return {}; }

  uint64_t next_group() { return ++last_group_; }

 private:
  static constexpr size_t kChunk = 256 * 1024;
  Spool(store::Store::Ingest ingest, UniqueFd fd) : ingest_(std::move(ingest)), fd_(std::move(fd)) {}
  store::Store::Ingest ingest_;
  UniqueFd fd_;
  uint64_t offset_ = 0;
  uint64_t last_group_ = 1ull << 32;  // apart from the groups that plan_copy gives
};

UnpackedArchives::UnpackedArchives(store::Store& store) : store_(store) {}
UnpackedArchives::~UnpackedArchives() = default;

namespace {

tar::Entry default_directory() {
  tar::Entry entry;
  entry.type = tar::EntryType::kDirectory;
  entry.mode = 0755;
  return entry;
}

// Where a member lands: symlinks of its parents are followed inside the image (AD2).
Result<std::string> landing_path(LayerPlan& plan, const std::string& directory,
                                 std::string_view member) {
  std::string parent = TRY(plan.resolve(join_path(directory, parent_path(member))));
  TRY(plan.make_directories(parent, default_directory()));
  return join_path(parent, base_name(member));
}

// A hard link shares the planned file that it names.
Result<PlannedEntry> linked_entry(LayerPlan& plan, const std::string& directory,
                                  const tar::Entry& member, uint64_t new_group) {
  std::string target = TRY(landing_path(plan, directory, member.link_target));
  auto it = plan.entries().find(target);
  if (it == plan.entries().end() || it->second.from_below ||
      it->second.entry.type == tar::EntryType::kDirectory)
    return Error(ErrorKind::kInvalid, "hard link " + member.path + " names " + member.link_target +
                                          ", which is not an earlier file of the archive");
  if (it->second.link_group == 0) it->second.link_group = new_group;
  return it->second;
}

}  // namespace

Result<void> UnpackedArchives::add(LayerPlan& plan, const PendingArchive& archive,
                                   const std::optional<Owner>& chown) {
  if (!spool_) spool_ = TRY(Spool::make(store_));
  std::unique_ptr<ByteSource> file = TRY(archive.tree->open(*archive.source));
  OpenedStream opened = TRY(open_decompressed(*file));
  tar::Reader reader(*opened.source);
  for (;;) {
    std::optional<tar::Member> member = TRY(reader.next());
    if (!member) return {};
    tar::Entry& entry = member->entry;
    if (entry.path.empty()) continue;
    if (base_name(entry.path).starts_with(".wh."))
      return Error(ErrorKind::kUnsupported, "the archive holds " + entry.path +
                                                ": names that start with .wh. mean deletions in a "
                                                "layer and cannot be stored");
    std::string target = TRY(landing_path(plan, archive.directory, entry.path));
    PlannedEntry planned;
    if (entry.type == tar::EntryType::kHardlink) {
      planned = TRY(linked_entry(plan, archive.directory, entry, spool_->next_group()));
    } else {
      planned.entry = entry;
      std::erase_if(planned.entry.xattrs,
                    [](const tar::Xattr& xattr) { return tar::is_overlay_xattr(xattr.name); });
      if (entry.type == tar::EntryType::kFile) {
        planned.source = TRY(spool_->append(reader, entry));
        planned.entry.size = planned.source->entry.size;
        planned.content = planned.source->content;
        planned.tree = spool_.get();
      }
    }
    planned.entry.path = target;
    if (chown) {
      planned.entry.uid = chown->uid;
      planned.entry.gid = chown->gid;
    }
    if (planned.entry.type != tar::EntryType::kDirectory) plan.erase_below(target);
    plan.put(std::move(planned));
  }
}

}  // namespace kasane::build
