// A layer that is compressed once: into a file of the store, which its upload follows at the same
// time. Internal to src/transfer.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>

#include "base/compress.h"
#include "registry/upload.h"
#include "store/growing_file.h"
#include "store/layer.h"
#include "store/store.h"

namespace kasane::transfer {

struct LayerForm {
  Compression compression = Compression::kGzip;
  std::optional<int> level;
  bool force = false;  // compressed bytes of another kind that the store has are not taken
  // Same layer, same text → same bytes: names the form in notes about uploads that broke off.
  std::string text() const;
};

class CompressedLayer final : public registry::GrowingSource {
 public:
  // Called once, on the thread that compresses.
  struct Hooks {
    std::function<void(const registry::BlobEnd&)> before_end;  // nobody else knows of it yet
    std::function<void(const registry::BlobEnd&)> after_end;
  };
  // Begins at once, on a thread of its own. `store` must outlive the result.
  static Result<std::unique_ptr<CompressedLayer>> start(store::Store& store, store::LayerPtr layer,
                                                        const LayerForm& form, Hooks hooks);
  ~CompressedLayer() override;  // gives up what is not done

  Result<std::unique_ptr<ByteSource>> open(uint64_t offset) override;
  std::optional<registry::BlobEnd> end_if_known() override;
  Result<registry::BlobEnd> end() override;
  // Waits until the bytes are in blobs/ (durable). They stay when an image's manifest names them
  // before the store is released.
  Result<registry::BlobEnd> keep();

 private:
  CompressedLayer(store::Store& store, store::LayerPtr layer, store::Store::Ingest ingest)
      : store_(store), layer_(std::move(layer)), ingest_(std::move(ingest)) {}
  Result<registry::BlobEnd> compress(const LayerForm& form);
  void work(const LayerForm& form);

  store::Store& store_;
  store::LayerPtr layer_;
  store::Store::Ingest ingest_;
  store::GrowingFile file_;
  Hooks hooks_;
  std::stop_source stop_;

  std::mutex mutex_;  // guards end_ and error_
  std::condition_variable changed_;
  std::optional<registry::BlobEnd> end_;
  std::optional<Error> error_;
  std::thread thread_;  // the last member
};

}  // namespace kasane::transfer
