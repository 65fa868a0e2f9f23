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
#include "dockerfile/ast.h"
#include "exec/executor.h"
#include "net/git_ref.h"
#include "oci/image_config.h"
#include "oci/platform.h"
#include "store/layer.h"

namespace kasane::build {

using VertexId = int;
inline constexpr VertexId kNoVertex = -1;

// Where COPY, ADD and bind mounts take files from.
struct SourceRef {
  enum class Kind {
    kContext,  // the build context
    kVertex,   // a stage, an image, or what a LocalOp, HttpOp or GitOp gives
    kEmpty,    // scratch, or a stage without layers
  };
  Kind kind = Kind::kContext;
  VertexId vertex = kNoVertex;
};

// FROM an image of the store. No layers: scratch or an image without layers.
struct BaseOp {
  std::string name;
  std::vector<Sha256Digest> diff_ids;
};

// --build-context NAME=DIR.
struct LocalOp {
  std::string name;
};

// ADD of a URL: a tree with one file (AD6, AD7).
struct HttpOp {
  std::string url;
  std::string checksum;  // "sha256:..." or ""
  std::string file_name;
};

// ADD of a repository, or a context that is one (AD10).
struct GitOp {
  net::GitRef ref;
  bool keep_git_dir = false;
};

struct RunMount {
  dockerfile::MountType type = dockerfile::MountType::kTmpfs;
  std::string target;
  SourceRef from;           // bind; cache when has_from
  bool has_from = false;
  std::string source;       // bind, cache: path in `from`, clean; "" is its root
  std::string id;           // cache, secret, ssh
  std::string env;          // secret: variable to set; ssh: unused
  bool as_file = true;      // secret: false when only `env` was asked for
  bool required = false;    // secret, ssh
  uint32_t mode = 0755, uid = 0, gid = 0;
  bool read_only = false;
  dockerfile::CacheSharing sharing = dockerfile::CacheSharing::kShared;
  uint64_t size_bytes = 0;  // tmpfs
  SourceSpan span;
};

struct RunOp {
  std::vector<std::string> argv;
  std::vector<std::string> env;        // counts in the key
  std::vector<std::string> proxy_env;  // does not
  std::string cwd = "/";
  std::string user;
  exec::Network network = exec::Network::kHost;
  exec::Security security = exec::Security::kSandbox;
  oci::Platform platform;              // of the stage
  std::vector<RunMount> mounts;
  // A heredoc that starts with "#!" (H09): written to a file that is mounted at argv[0].
  std::optional<std::string> script;
};

struct CopyOp {
  CopyRequest request;                // chown is resolved when the parent's files are known
  std::optional<std::string> chown;   // as written, expanded
  std::string chmod_text;             // request.chmod as written, expanded
  bool is_add = false;
  bool link = false;
  // The trees that CopySource::tree numbers. The first is the context or --from; ADD has
  // one more for each URL and repository.
  std::vector<SourceRef> trees{SourceRef{}};

  bool unpacks() const;  // some source may be an archive to unpack
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
  bool no_cache = false;  // --no-cache, --no-cache-filter
  std::variant<BaseOp, LocalOp, HttpOp, GitOp, RunOp, CopyOp, WorkdirOp> op;

  std::vector<VertexId> dependencies() const;
};

// What a vertex gave.
struct VertexResult {
  std::vector<store::LayerPtr> layers;  // the whole stack, lowest first
  store::LayerPtr own;                  // the layer this step made; null for BaseOp
  std::shared_ptr<SourceTree> tree;     // of LocalOp, HttpOp and GitOp, which have no layers
  int64_t created_ns = 0;
  bool cached = false;
  std::string reason;                   // explain
  std::vector<std::string> details;
  Sha256Digest key{};                   // of the step; all zero for sources
  std::string key_json;                 // its readable parts (StepKey::to_json)
  uint64_t duration_ns = 0;             // of a step that ran
  std::optional<exec::RunOutcome> usage;  // of a RUN that ran
};

// One line of the image's history, in Dockerfile order.
struct HistoryItem {
  std::string created_by;
  bool empty_layer = true;
  VertexId vertex = kNoVertex;  // of the layer, when there is one
};

// The image of one platform: configuration as the Dockerfile leaves it, and where its files
// come from.
struct Target {
  oci::Platform platform;
  oci::ImageConfig config;              // history and rootfs hold the base's part only
  std::vector<HistoryItem> history;     // what this Dockerfile adds
  VertexId result = kNoVertex;
};

struct Graph {
  std::vector<Vertex> vertices;
  std::vector<Target> targets;          // in the order in which platforms were asked for
};

}  // namespace kasane::build
