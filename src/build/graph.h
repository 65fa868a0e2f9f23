// The build graph: operations and what they depend on. lower/ makes it from the AST; the
// scheduler runs what the target reaches. Vertices are never removed; ids are indexes.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/source.h"
#include "build/copy.h"
#include "exec/executor.h"
#include "oci/image_config.h"
#include "store/layer.h"

namespace kasane::build {

using VertexId = int;
inline constexpr VertexId kNoVertex = -1;

// FROM an image of the store. No layers: scratch or an image without layers.
struct BaseOp {
  std::string name;
  std::vector<Sha256Digest> diff_ids;
};

struct RunMount {
  enum class Type { kCache, kTmpfs } type = Type::kTmpfs;
  std::string target;
  std::string cache_id;  // kCache
  uint32_t mode = 0755, uid = 0, gid = 0;
  bool read_only = false;
  bool exclusive = false;  // kCache, sharing=locked
  uint64_t size_bytes = 0;
};

struct RunOp {
  std::vector<std::string> argv;
  std::vector<std::string> env;        // counts in the key
  std::vector<std::string> proxy_env;  // does not
  std::string cwd = "/";
  std::string user;
  exec::Network network = exec::Network::kHost;
  std::vector<RunMount> mounts;
  // A heredoc that starts with "#!" (H09): written to a file that is mounted at argv[0].
  std::optional<std::string> script;
};

struct CopyOp {
  CopyRequest request;                // chown is resolved when the parent's files are known
  std::optional<std::string> chown;   // as written, expanded
  std::string chmod_text;             // request.chmod as written, expanded
  bool is_add = false;
  bool unpack = false;                // ADD of local archives
  bool link = false;
  VertexId from = kNoVertex;          // kNoVertex: the build context, unless from_scratch
  bool from_scratch = false;          // --from a stage without layers
};

struct WorkdirOp {
  std::string path;  // absolute, clean
  std::string user;  // owner of new directories
};

struct Vertex {
  std::string name;    // "[builder 2/4] COPY . ."
  std::string scope;   // stable name of this step for explain
  SourceSpan span;
  VertexId parent = kNoVertex;
  std::variant<BaseOp, RunOp, CopyOp, WorkdirOp> op;

  std::vector<VertexId> dependencies() const;
};

// What a vertex gave.
struct VertexResult {
  std::vector<store::LayerPtr> layers;  // the whole stack, lowest first
  store::LayerPtr own;                  // the layer this step made; null for BaseOp
  int64_t created_ns = 0;
  bool cached = false;
  std::string reason;                   // explain
  std::vector<std::string> details;
};

// One line of the image's history, in Dockerfile order.
struct HistoryItem {
  std::string created_by;
  bool empty_layer = true;
  VertexId vertex = kNoVertex;  // of the layer, when there is one
};

struct Graph {
  std::vector<Vertex> vertices;
  // The target: configuration as the Dockerfile leaves it, and where its files come from.
  oci::ImageConfig config;              // history and rootfs hold the base's part only
  std::vector<HistoryItem> history;     // what this Dockerfile adds
  VertexId result = kNoVertex;
  std::vector<std::string> warnings;
};

}  // namespace kasane::build
