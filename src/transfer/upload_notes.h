// What the store remembers about uploads that did not end: the session's URL, and what became of a
// layer that was being compressed. So the next run continues. Internal to src/transfer.
#pragma once

#include <optional>
#include <string>

#include "registry/upload.h"
#include "store/store.h"

namespace kasane::transfer {

struct UploadNote {
  std::string session;                      // URL; "" = none
  std::optional<registry::BlobEnd> end;     // of a layer whose compression ended
};

// One file per blob and repository below uploads/. Only shortcuts: errors mean that nothing is
// remembered. Thread-safe for different keys.
class UploadNotes {
 public:
  UploadNotes(store::Store& store, std::string repository)  // with its host
      : folder_(store.path("uploads")), repository_(std::move(repository)) {}
  UploadNote read(const std::string& key) const;
  // An empty note removes the file.
  void write(const std::string& key, const UploadNote& note) const;

 private:
  std::string path(const std::string& key) const;
  std::string folder_;
  std::string repository_;
};

}  // namespace kasane::transfer
