#include "transfer/archive_view.h"

#include <map>

#include "base/compress.h"
#include "oci/digest.h"
#include "store/layer.h"
#include "tar/reader.h"

namespace kasane::transfer {
namespace {

constexpr uint64_t kMaxDocumentsBytes = 64u << 20;  // of one archive, kept in memory
constexpr int kMaxAliases = 16;
constexpr std::string_view kBlobPrefix = "blobs/sha256/";

std::optional<Sha256Digest> digest_of_name(std::string_view path) {
  if (!path.starts_with(kBlobPrefix)) return std::nullopt;
  return Sha256Digest::from_hex(path.substr(kBlobPrefix.size()));
}

// Expands and imports one layer stream and checks its name, when the name is a digest.
Result<Sha256Digest> import_stream(store::Store& store, ByteSource& bytes, std::string_view path) {
  HashingSource hashed(bytes);
  OpenedStream opened = TRY(open_decompressed(hashed));
  store::LayerPtr layer = TRY(store::import_layer(store, *opened.source, {}));
  std::optional<Sha256Digest> named = digest_of_name(path);
  if (named) {
    // The decompressor may stop before trailing bytes; the digest covers them.
    uint8_t buffer[65536];
    while (TRY(hashed.read(buffer)) > 0) {
    }
    if (hashed.finish() != *named)
      return Error(ErrorKind::kCorrupt, "content of " + std::string(path) + " does not match its name");
  }
  return layer->diff_id();
}

class MemberSource : public ByteSource {
 public:
  MemberSource(std::string_view head, tar::Reader& reader) : head_(head), reader_(reader) {}
  Result<size_t> read(std::span<uint8_t> buffer) override {
    if (!head_.empty()) {
      MemorySource memory(head_);
      size_t n = TRY(memory.read(buffer));
      head_.remove_prefix(n);
      return n;
    }
    return reader_.read(buffer);
  }

 private:
  std::string_view head_;
  tar::Reader& reader_;
};

class TarArchive : public ArchiveView {
 public:
  explicit TarArchive(store::Store& store) : store_(store) {}

  Result<void> read(ByteSource& tar) {
    tar::Reader reader(tar);
    for (;;) {
      std::optional<tar::Member> member = TRY(reader.next());
      if (!member) return {};
      TRY(take(reader, *member));
    }
  }

  Result<std::optional<std::string>> document(const std::string& path) override {
    auto it = documents_.find(follow(path));
    if (it == documents_.end()) return std::optional<std::string>();
    return std::optional<std::string>(it->second);
  }

  Result<Sha256Digest> layer(const std::string& path) override {
    std::string real = follow(path);
    if (auto it = layers_.find(real); it != layers_.end()) return it->second;
    if (auto it = errors_.find(real); it != errors_.end()) return Error(it->second).context("layer " + path);
    return Error(ErrorKind::kInvalid, "the archive names layer " + path + " but does not hold it");
  }

 private:
  // Old docker archives link repeated layers to their first copy.
  std::string follow(std::string path) const {
    for (int i = 0; i < kMaxAliases; ++i) {
      auto it = aliases_.find(path);
      if (it == aliases_.end()) break;
      path = it->second;
    }
    return path;
  }

  Result<void> take(tar::Reader& reader, const tar::Member& member) {
    const tar::Entry& entry = member.entry;
    if (entry.type == tar::EntryType::kHardlink || entry.type == tar::EntryType::kSymlink)
      aliases_[entry.path] = archive_link_target(entry);
    if (entry.type != tar::EntryType::kFile || entry.size == 0) return {};
    std::string head(std::min<uint64_t>(entry.size, 512), '\0');
    MemberSource raw({}, reader);
    size_t got = TRY(read_full(raw, std::span(reinterpret_cast<uint8_t*>(head.data()), head.size())));
    head.resize(got);
    bool is_tar = head.size() == 512 && head.compare(257, 5, "ustar") == 0;
    bool text = !is_tar && (head[0] == '{' || head[0] == '[');
    if (text && entry.size <= kMaxDocumentBytes) return keep_document(reader, entry, std::move(head));
    if (!looks_like_layer(entry.path)) return {};
    MemberSource bytes(head, reader);
    Result<Sha256Digest> imported = import_stream(store_, bytes, entry.path);
    if (imported) {
      layers_[entry.path] = *imported;
    } else if (imported.error().kind() == ErrorKind::kNoSpace || imported.error().kind() == ErrorKind::kIo) {
      return imported.error();
    } else {
      errors_.emplace(entry.path, imported.error());  // matters only if a manifest names it
    }
    return {};
  }

  static bool looks_like_layer(std::string_view path) {
    return path.starts_with(kBlobPrefix) || path.ends_with(".tar") || path.ends_with(".tar.gz") ||
           path.ends_with(".tgz") || path.ends_with(".tar.zst") || path.ends_with(".tar.xz");
  }

  Result<void> keep_document(tar::Reader& reader, const tar::Entry& entry, std::string head) {
    kept_bytes_ += entry.size;
    if (kept_bytes_ > kMaxDocumentsBytes)
      return Error(ErrorKind::kLimit, "the archive holds more than 64 MiB of documents");
    size_t have = head.size();
    head.resize(entry.size);
    MemberSource rest({}, reader);
    TRY(read_full(rest, std::span(reinterpret_cast<uint8_t*>(head.data()) + have, head.size() - have)));
    std::optional<Sha256Digest> named = digest_of_name(entry.path);
    if (named && sha256(head) != *named)
      return Error(ErrorKind::kCorrupt, "content of " + entry.path + " does not match its name");
    documents_[entry.path] = std::move(head);
    return {};
  }

  store::Store& store_;
  std::map<std::string, std::string> documents_;
  std::map<std::string, Sha256Digest> layers_;
  std::map<std::string, Error> errors_;
  std::map<std::string, std::string> aliases_;
  uint64_t kept_bytes_ = 0;
};

class LayoutDirectory : public ArchiveView {
 public:
  LayoutDirectory(store::Store& store, UniqueFd root) : store_(store), root_(std::move(root)) {}

  Result<std::optional<std::string>> document(const std::string& path) override {
    Result<std::string> text = read_file_in_root(root_.get(), path, kMaxDocumentBytes);
    if (!text && text.error().kind() == ErrorKind::kNotFound) return std::optional<std::string>();
    if (!text) return text.error();
    std::optional<Sha256Digest> named = digest_of_name(path);
    if (named && sha256(*text) != *named)
      return Error(ErrorKind::kCorrupt, "content of " + path + " does not match its name");
    return std::optional<std::string>(std::move(*text));
  }

  Result<Sha256Digest> layer(const std::string& path) override {
    UniqueFd fd = TRY(open_in_root(root_.get(), path, O_RDONLY | O_NONBLOCK | O_NOCTTY));
    FdSource source(fd.get(), path);
    return import_stream(store_, source, path);
  }

 private:
  store::Store& store_;
  UniqueFd root_;
};

}  // namespace

std::string archive_link_target(const tar::Entry& entry) {
  if (entry.type == tar::EntryType::kHardlink) return entry.link_target;
  const size_t slash = entry.path.rfind('/');
  std::string directory = entry.path.substr(0, slash == std::string::npos ? 0 : slash);
  std::string_view target = entry.link_target;
  while (target.starts_with("../")) {
    target.remove_prefix(3);
    const size_t above = directory.rfind('/');
    directory = above == std::string::npos ? std::string() : directory.substr(0, above);
  }
  return directory.empty() ? std::string(target) : directory + "/" + std::string(target);
}

Result<std::unique_ptr<ArchiveView>> read_tar_archive(store::Store& store, ByteSource& tar) {
  auto archive = std::make_unique<TarArchive>(store);
  TRY(archive->read(tar));
  return std::unique_ptr<ArchiveView>(std::move(archive));
}

Result<std::unique_ptr<ArchiveView>> open_layout_directory(store::Store& store,
                                                           const std::string& path) {
  UniqueFd root = TRY(open_file(path, O_RDONLY | O_DIRECTORY));
  return std::unique_ptr<ArchiveView>(std::make_unique<LayoutDirectory>(store, std::move(root)));
}

}  // namespace kasane::transfer
