#include "transfer/repair.h"

#include <fcntl.h>

#include <map>

#include "base/compress.h"
#include "store/layer.h"
#include "store/layer_blobs.h"
#include "transfer/pull_layer.h"

namespace kasane::transfer {
namespace {

using store::LostObject;
using store::LostObjectSource;

class Fetcher {
 public:
  Fetcher(store::Store& store, const OpenRepository& open, const std::stop_token& stop)
      : store_(store), open_(open), stop_(stop) {}

  // The place that had it. kCancelled ends the repair, other errors only this source.
  Result<std::string> fetch(const LostObject& object, const LostObjectSource& source) {
    const oci::Reference reference = TRY(oci::Reference::parse(source.reference));
    std::unique_ptr<registry::Repository>& repository = repositories_[reference.name()];
    if (!repository) repository = TRY(open_(reference));
    switch (object.kind) {
      case LostObject::Kind::kManifest: {
        const registry::Document document =
            TRY(repository->document(source.descriptor.digest, stop_));
        TRY(keep(document.bytes, object.digest));
        break;
      }
      case LostObject::Kind::kConfig:
        TRY(keep(TRY(repository->blob_text(source.descriptor, stop_)), object.digest));
        break;
      case LostObject::Kind::kLayer:
      case LostObject::Kind::kCompressedLayer: {
        LayerHooks hooks;
        hooks.status = [](const std::string&) {};
        TRY(check_layer_type(source.descriptor));
        TRY(pull_layer(store_, *repository, source.descriptor, *source.diff_id, hooks, stop_));
        break;
      }
    }
    return reference.name();
  }

  // The compressed form of the layer may be here.
  Result<bool> from_compressed(const Sha256Digest& diff_id) {
    const std::optional<store::LayerBlob> blob = TRY(store::find_layer_blob(store_, diff_id));
    if (!blob) return false;
    UniqueFd fd = TRY(open_file(blob->path, O_RDONLY | O_NOFOLLOW));
    FdSource file(fd.get(), blob->path);
    OpenedStream opened = TRY(open_decompressed(file));
    store::ImportOptions options;
    options.expected_diff_id = diff_id;
    Result<store::LayerPtr> layer = store::import_layer(store_, *opened.source, options);
    if (!layer && layer.error().kind() == ErrorKind::kNoSpace) return std::move(layer.error());
    return layer.has_value();
  }

 private:
  Result<void> keep(const std::string& bytes, const Sha256Digest& wanted) {
    if (sha256(bytes) != wanted)
      return Error(ErrorKind::kCorrupt, "other bytes came than those of " + wanted.str());
    TRY(store_.put_blob(bytes));
    return {};
  }

  store::Store& store_;
  const OpenRepository& open_;
  const std::stop_token& stop_;
  std::map<std::string, std::unique_ptr<registry::Repository>> repositories_;
};

// What ends the repair instead of leaving the object lost: with more room or time it would not be.
bool is_fatal(const Error& error) {
  return error.kind() == ErrorKind::kCancelled || error.kind() == ErrorKind::kNoSpace;
}

Result<void> restore(store::Repair& repair, size_t i, Fetcher& fetcher) {
  const LostObject object = repair.lost()[i];
  if (object.kind == LostObject::Kind::kLayer) {
    Result<bool> made = fetcher.from_compressed(object.digest);
    if (!made && is_fatal(made.error())) return std::move(made.error());
    if (made && *made) {
      repair.restored(i, "rebuilt", "from its compressed form: " + object.reason);
      return {};
    }
  }
  const std::vector<LostObjectSource> sources = TRY(repair.sources(object));
  for (const LostObjectSource& source : sources) {
    Result<std::string> where = fetcher.fetch(object, source);
    if (where) {
      repair.restored(i, "fetched", "from " + *where + ": " + object.reason);
      return {};
    }
    if (is_fatal(where.error())) return std::move(where.error());
    repair.failed(i, where.error());
  }
  return {};
}

}  // namespace

Result<std::vector<store::RepairAction>> repair(store::Store& store, const OpenRepository& open,
                                                const std::stop_token& stop) {
  std::unique_ptr<store::Repair> repair = TRY(store::Repair::begin(store));
  Fetcher fetcher(store, open, stop);
  for (size_t i = 0; i < repair->lost().size(); ++i) TRY(restore(*repair, i, fetcher));
  TRY(repair->finish());
  return repair->actions();
}

}  // namespace kasane::transfer
