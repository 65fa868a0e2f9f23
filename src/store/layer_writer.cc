#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>

#include "store/layer_internal.h"

namespace kasane::store {
namespace {

bool path_less(const std::pair<std::string, std::string>& link, const std::string& path) {
  return tar::compare_paths(link.first, path) < 0;
}

Error changed_while_read(const tar::Entry& entry, uint64_t got, bool more) {
  return Error(ErrorKind::kConflict, "'" + entry.path + "' changed while it was read: " +
                                         std::to_string(entry.size) + " bytes were announced, " +
                                         (more ? "more than " : "") + std::to_string(got) + " came")
      .hint("run again when nothing writes to it");
}

class StoreLayerWriter final : public LayerWriter {
 public:
  StoreLayerWriter(Store& store, Store::Ingest ingest, std::unique_ptr<CanonicalBuilder> builder)
      : store_(store), ingest_(std::move(ingest)), builder_(std::move(builder)) {}

  Result<void> add(const tar::Entry& entry) override { return builder_->add(entry); }
  Result<Sha256Digest> add_file(const tar::Entry& entry, ByteSource& content,
                                const Sha256Digest* known) override {
    return builder_->add_file(entry, content, known);
  }
  Result<LayerPtr> commit() override {
    const LayerSummary summary = TRY_CONTEXT(builder_->finish(true), "write layer");
    return commit_layer(store_, ingest_.path() + "/layer", summary);
  }

 private:
  Store& store_;
  Store::Ingest ingest_;
  std::unique_ptr<CanonicalBuilder> builder_;
};

}  // namespace

CanonicalBuilder::CanonicalBuilder(std::string directory, UniqueFd blob)
    : directory_(std::move(directory)),
      blob_(std::move(blob)),
      sink_(blob_.get(), directory_ + "/blob"),
      writer_(sink_) {}

Result<std::unique_ptr<CanonicalBuilder>> CanonicalBuilder::create(const std::string& directory,
                                                                   bool keep_blob) {
  UniqueFd blob;
  if (keep_blob)
    blob = TRY(open_file(directory + "/blob", O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0644));
  return std::unique_ptr<CanonicalBuilder>(new CanonicalBuilder(directory, std::move(blob)));
}

Result<void> CanonicalBuilder::add(tar::Entry entry) {
  if (entry.type == tar::EntryType::kFile && entry.size > 0)
    return Error(ErrorKind::kInternal, "file '" + entry.path + "' was added without its content");
  if (entry.type == tar::EntryType::kHardlink) {
    auto known = std::lower_bound(links_.begin(), links_.end(), entry.link_target, path_less);
    if (known != links_.end() && known->first == entry.link_target)
      entry.link_target = known->second;
    links_.emplace_back(entry.path, entry.link_target);
  }
  const tar::Placement place = TRY(writer_.begin(entry));
  TRY(writer_.finish_member());
  IndexedEntry indexed;
  indexed.entry = std::move(entry);
  indexed.header_offset = place.header_offset;
  indexed.data_offset = place.data_offset;
  index_.add(std::move(indexed));
  return {};
}

Result<Sha256Digest> CanonicalBuilder::add_file(const tar::Entry& entry, ByteSource& content,
                                                const Sha256Digest* known) {
  if (entry.type != tar::EntryType::kFile)
    return Error(ErrorKind::kInternal, "'" + entry.path + "' has content but is not a file");
  const tar::Placement place = TRY(writer_.begin(entry));
  Sha256 hash;
  uint64_t done = 0;
  while (done < entry.size) {
    // The file is read into the block that the pipeline writes: no copy in between.
    std::span<uint8_t> room = TRY(sink_.reserve());
    if (room.size() > entry.size - done) room = room.first(entry.size - done);
    const size_t n = TRY(content.read(room));
    if (n == 0) return changed_while_read(entry, done, false);
    if (!known) hash.update(room.first(n));
    TRY(writer_.write(room.first(n)));
    done += n;
  }
  uint8_t probe;
  if (TRY(content.read({&probe, 1})) != 0) return changed_while_read(entry, done, true);
  TRY(writer_.finish_member());
  IndexedEntry indexed;
  indexed.entry = entry;
  indexed.header_offset = place.header_offset;
  indexed.data_offset = place.data_offset;
  indexed.raw_size = entry.size;
  const Sha256Digest digest = known ? *known : hash.finish();
  if (entry.size > 0) indexed.content = digest;
  index_.add(std::move(indexed));
  return digest;
}

Result<LayerSummary> CanonicalBuilder::finish(bool sync) {
  TRY(writer_.finish());
  const BlockSink::Totals totals = TRY(sink_.finish());
  // The index is written first: its data goes to disk in the blob's fsync as well.
  const LayerSummary summary =
      TRY(index_.write(directory_ + "/index", totals.digest, totals.size, true, sync));
  if (sync && blob_) TRY(sync_fd(blob_.get(), directory_ + "/blob"));
  return summary;
}

Result<std::unique_ptr<LayerWriter>> new_layer(Store& store) {
  TRY(store.hold());
  Store::Ingest ingest = TRY(store.new_ingest());
  const std::string directory = ingest.path() + "/layer";
  TRY(make_directories(directory, 0700));
  std::unique_ptr<CanonicalBuilder> builder = TRY(CanonicalBuilder::create(directory, true));
  return std::unique_ptr<LayerWriter>(
      std::make_unique<StoreLayerWriter>(store, std::move(ingest), std::move(builder)));
}

}  // namespace kasane::store
