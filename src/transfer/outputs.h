// The outputs of a build (reference 1.16 O01-O09, 1.18 MP1 and MP4, 1.19 T01-T10, L19): what
// `-o` says, and the writers of its forms. Layers are read from their bodies as they are:
// nothing is mounted and nothing needs privilege.
//
//   local   merged root file system in a directory      (rootfs_dir.cc)
//   tar     the same as a tar stream                     (rootfs_tar.cc)
//   oci     OCI layout, in a tar or a directory          (oci_layout.cc)
//   docker  what `save` writes, one platform only        (save.cc)
//   image   into the store, or to a registry: only parsed here
//
// Same platforms and options → same bytes. Times that nobody gave are 0, never "now".
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/compress.h"
#include "base/events.h"
#include "oci/platform.h"
#include "store/store.h"

namespace kasane::transfer {

// What is attested about a platform's result. The writer of the output makes the in-toto
// statement around it, because only it knows the subjects: the manifest under each name of
// the image, or the files of a local or tar output.
struct Attestation {
  std::string predicate_type;  // "https://slsa.dev/provenance/v1"
  std::string predicate_json;  // compact JSON object, goes in as it is
  std::string file_name = "provenance.json";  // of the statement in local and tar outputs
};

// The package URL of an image: "pkg:docker/alpine@3?platform=linux%2Famd64".
std::string image_purl(std::string_view name, const oci::Platform& platform);

struct BuiltPlatform {
  oci::Platform platform;
  Sha256Digest config_digest;
  std::string config_json;
  std::vector<Sha256Digest> diff_ids;  // lowest first; the layers are in the store
  size_t base_layers = 0;              // the first N layers came from the base image
  // Config digest of the base image, for the history of squash; nullopt: none, or unknown.
  std::optional<Sha256Digest> base_image;
  std::vector<Attestation> attestations;
  // Layers that rewrite_timestamps() made, and the epoch (T07); filled in by it.
  std::map<Sha256Digest, int64_t> rewritten;
};

// ---- annotations (T05)

struct Annotation {
  enum class Type { kManifest, kManifestDescriptor, kIndex, kIndexDescriptor };
  Type type = Type::kManifest;
  std::optional<oci::Platform> platform;  // nullopt = every platform; ignored for indexes
  std::string key;
  std::string value;
};
// `--annotation "[type[,type][platform]:]key=value"`, as buildx reads it: one item per type,
// each type perhaps with its own "[platform]". kInvalid.
Result<std::vector<Annotation>> parse_annotation(std::string_view text);

// ---- -o

struct ExportOptions {
  enum class Kind { kLocal, kTar, kOci, kDocker, kImage, kCacheOnly };
  Kind kind = Kind::kLocal;
  // Path; "-" = stdout (tar, oci, docker). "" for kDocker and kImage: into the store.
  std::string dest;
  bool tar = true;                 // oci: false = an OCI layout directory
  std::vector<std::string> names;  // canonical references with tag, from name=; the caller
                                   // puts those of -t here when there are any, as buildx does
  Compression compression = Compression::kGzip;  // kNone, kGzip or kZstd
  std::optional<int> level;
  bool force_compression = false;
  bool oci_media_types = true;
  bool oci_artifact = true;  // form of attestation manifests: with artifactType and subject
  std::vector<Annotation> annotations;
  bool rewrite_timestamp = false;  // the caller calls rewrite_timestamps() first
  std::optional<int64_t> epoch;    // SOURCE_DATE_EPOCH, seconds
  std::optional<bool> platform_split;  // nullopt: split when there are several platforms
  std::string attestation_prefix;      // local, tar: before the names of attestation files
  bool local_delete = false;           // local, mode=delete
  bool multi_platform = false;         // an index even for one platform (MP4)

  // kImage only, for whoever stores or pushes.
  bool push = false;
  bool push_by_digest = false;
  bool insecure_registry = false;
  // Other attributes that are valid for the kind but mean nothing here ("unpack", "store",
  // "dangling-name-prefix", ...).
  std::map<std::string, std::string> other;

  bool to_stdout() const;  // the output itself goes to stdout
  // Writes outside the store: what refuses --iidfile (local, tar) asks for kLocal/kTar itself.
  bool is_files() const { return kind == Kind::kLocal || kind == Kind::kTar; }
};

// One value of -o/--output in buildx' CSV grammar: "type=oci,dest=out.tar", "dir" (local),
// "-" (tar to stdout); `"key=a,b"` quotes. type=registry is kImage with push. kInvalid with a
// near name where one fits; kUnsupported for estargz.
Result<ExportOptions> parse_output(std::string_view text);

// The type as users write it: "local", "oci", ...
std::string_view kind_name(ExportOptions::Kind kind);

// mode=delete removes files: only a directory strictly below the current one is taken
// without --allow=local.delete, as in buildx. kInvalid says so.
Result<void> check_local_delete(const ExportOptions& options, bool allowed);

// ---- changing the layers of a result (both make new layers in the store)

// T07: layers from base_layers on get no mtime later than `epoch`; DiffIDs, history and
// `created` of the config follow. Layers without later times stay as they are.
Result<BuiltPlatform> rewrite_timestamps(store::Store& store, BuiltPlatform built, int64_t epoch);

// L24: the layers above base_layers become one. History as docker's --squash writes it. With
// fewer than two such layers nothing changes.
Result<BuiltPlatform> squash_new_layers(store::Store& store, BuiltPlatform built);

// ---- writing

struct ExportResult {
  // Of the manifest, or of the index; "" for local and tar.
  std::string digest;
  // Of the image's config; "" when there is an index of several images, as for BuildKit.
  std::string config_digest;
  std::string descriptor_json;     // of what `digest` names
  std::vector<std::string> names;  // canonical
  // For --metadata-file: "linux/amd64" → SLSA predicate, when one was made.
  std::vector<std::pair<std::string, std::string>> provenance;
};

// Writes one output. Files appear whole or not at all (tar, oci and docker: temporary file
// and rename; layout directory: blobs first, index.json last; local: file by file). kImage
// is kUnsupported here. Warnings go to the bus. kCancelled when `stop` is requested.
Result<ExportResult> export_build(store::Store& store, const std::vector<BuiltPlatform>& built,
                                  const ExportOptions& options, EventBus& events,
                                  std::stop_token stop);

// L19. The object that --metadata-file holds: containerimage.digest, .config.digest,
// .descriptor, image.name, buildx.build.provenance[/platform]; absent ones are left out.
std::string metadata_json(const ExportResult& result);

}  // namespace kasane::transfer
