// How each part of one layer directory is: for `store check` (what is wrong) and `store repair`
// (from which sound part the others can be made again).
#pragma once

#include <string>
#include <vector>

#include "store/layer_index.h"

namespace kasane::store {

class Database;
class Store;

// "" = sound, or not there where that is allowed; else what is wrong.
struct LayerHealth {
  std::string record;  // the database row does not say what a sound index says
  std::string index, blob, tree, split;
  bool has_blob = false, has_tree = false;
  uint64_t bytes_read = 0;
  LayerSummary summary;  // of the index, when that is sound

  bool blob_is_sound() const { return has_blob && blob.empty(); }
  bool tree_is_sound() const { return has_tree && tree.empty() && split.empty(); }
  bool sound() const;
  std::string reason() const;  // everything that is wrong, in one line
};

// The row of a layer, unless there is one. REQUIRES: a write transaction.
Result<void> insert_layer(Database& database, const LayerSummary& summary);

// All rows of `layers`.
Result<std::vector<LayerSummary>> recorded_layers(Database& database);

// `deep`: every byte is read and hashed; else presence, sizes and types only.
LayerHealth examine_layer(Store& store, const LayerSummary& recorded, bool deep);

}  // namespace kasane::store
