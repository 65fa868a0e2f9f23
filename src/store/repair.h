// `store repair`, the part that needs no network: throws away damaged copies where a sound one is
// left, makes again what can be made again, and in the end drops what nobody could bring back.
// Fetching what is lost is for the caller (transfer/repair.h), between begin() and finish().
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/hash.h"
#include "base/result.h"
#include "oci/manifest.h"
#include "store/store.h"

namespace kasane::store {

// One thing that was done to one object.
struct RepairAction {
  std::string action;  // "dropped", "rebuilt", "fetched"
  std::string kind;    // as DamagedObject::kind
  std::string name;
  std::string reason;
};

// An object of which the store has no sound copy any more. Its damaged files are gone.
struct LostObject {
  enum class Kind { kManifest, kConfig, kLayer, kCompressedLayer };
  Kind kind;
  Sha256Digest digest;  // of a layer: its DiffID
  std::string reason;   // what was wrong with it
  bool restored = false;
  std::string why_not;  // it could not be fetched
};

// Where a lost object came from: a repository of a registry, by digest.
struct LostObjectSource {
  std::string reference;       // canonical "name@digest" that names an image that needs it
  oci::Descriptor descriptor;  // of the blob or manifest there
  std::optional<Sha256Digest> diff_id;  // of layers
};

// One thread. Every step takes the store's exclusive lock by itself, for as long as it removes
// something, and is safe against a crash: what was not repaired is still damaged.
class Repair {
 public:
  // Checks the whole store and repairs what can be repaired here. kConflict when others keep
  // using the store; kCorrupt when the database itself cannot be used (rebuild_database()).
  static Result<std::unique_ptr<Repair>> begin(Store& store);

  // In the order in which they are to be brought back: what describes others comes first.
  const std::vector<LostObject>& lost() const { return lost_; }
  // Asked late, when the manifests that describe the object may be back. Empty: nobody knows.
  Result<std::vector<LostObjectSource>> sources(const LostObject& object);
  // The i-th lost object is in the store again, or why it is not.
  void restored(size_t i, const std::string& action, const std::string& where);
  void failed(size_t i, const Error& error) { lost_[i].why_not = error.full_message(); }

  // Drops what is still lost, and what cannot be without it: images, names, cached steps.
  Result<void> finish();
  const std::vector<RepairAction>& actions() const { return actions_; }

 private:
  explicit Repair(Store& store) : store_(store) {}
  Result<void> alone(const std::function<Result<void>()>& work);
  void add(std::string action, std::string kind, std::string name, std::string reason) {
    actions_.push_back({std::move(action), std::move(kind), std::move(name), std::move(reason)});
  }

  Result<bool> repair_records();  // true: something was changed
  Result<void> repair_blobs(const CheckReport& report);
  Result<void> repair_layers(const CheckReport& report);
  Result<void> repair_layer(const LayerSummary& recorded);
  Result<void> rebuild_parts(const LayerSummary& recorded, const struct LayerHealth& health);
  Result<void> repair_images(const CheckReport& report);
  Result<void> repair_small_files(const CheckReport& report);
  Result<void> drop_image(const Sha256Digest& image, const std::string& reason);
  Result<void> drop_layer(const LostObject& object);
  Result<void> drop_manifest(const LostObject& object);

  Store& store_;
  std::vector<LostObject> lost_;
  std::vector<RepairAction> actions_;
};

// Makes kasane.db again from what is left: the rows of the damaged one that can be read, and the
// layers, configs and manifests that are there. The damaged one stays as kasane.db.damaged. Names
// that cannot be read any more are lost. Nothing is done to a store whose database is sound.
// REQUIRES: no Store of this process is open.
Result<std::vector<RepairAction>> rebuild_database(const OpenOptions& options);

}  // namespace kasane::store
