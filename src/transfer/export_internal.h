// What the files of the build outputs share. Internal to src/transfer.
#pragma once

#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/new_file.h"
#include "base/stream.h"
#include "oci/json.h"
#include "oci/manifest.h"
#include "tar/writer.h"
#include "transfer/outputs.h"

namespace kasane::transfer {

Error cancelled();

// Gathers small writes (tar headers) and ends the work when `stop` is requested.
class OutputSink : public ByteSink {
 public:
  OutputSink(int fd, std::string name, std::stop_token stop);
  Result<void> write(std::span<const uint8_t> bytes) override;
  Result<void> flush();
  uint64_t size() const { return size_; }

 private:
  FdSink file_;
  std::stop_token stop_;
  std::vector<uint8_t> pending_;
  uint64_t size_ = 0;
};

// The file that `dest` names, which takes its name when it is complete. "-" and what is no
// regular file (a device, a FIFO) are written directly.
class OutputFile {
 public:
  static Result<OutputFile> open(const std::string& dest);
  OutputFile(OutputFile&&) noexcept = default;
  OutputFile& operator=(OutputFile&&) = delete;
  int fd() const { return fd_; }
  const std::string& name() const { return name_; }
  Result<void> commit();

 private:
  OutputFile() = default;
  UniqueFd owned_;
  int fd_ = -1;
  std::string name_;
  std::optional<NewFile> new_;
};

// Members of an image archive: sorted, fixed modes, one time.
class ArchiveWriter {
 public:
  explicit ArchiveWriter(ByteSink& out, int64_t mtime = 0) : writer_(out), mtime_(mtime) {}
  Result<void> directory(const std::string& path);
  Result<void> text(const std::string& path, std::string_view content);
  // Exactly `size` bytes come from the source, and they have that digest: kCorrupt else.
  Result<void> stream(const std::string& path, uint64_t size, const Sha256Digest& digest,
                      ByteSource& source);
  Result<void> finish() { return writer_.finish(); }

 private:
  Result<void> begin_file(const std::string& path, uint64_t size);
  tar::Writer writer_;
  int64_t mtime_;
};

// One image of a docker archive (save, type=docker).
struct ArchiveImage {
  std::string config_json;
  std::vector<std::string> references;  // canonical with tag
  std::map<std::string, std::string> annotations;             // of the manifest
  std::map<std::string, std::string> descriptor_annotations;  // in index.json
};
struct WrittenArchive {
  std::vector<oci::Descriptor> manifests;  // one per image, without names
};
Result<WrittenArchive> write_docker_archive(store::Store& store,
                                            const std::vector<ArchiveImage>& images, ByteSink& out,
                                            int64_t mtime = 0);

// Member order of ocispec.Descriptor.
std::string descriptor_json(const oci::Descriptor& descriptor);
// Two spaces per level, as Go's MarshalIndent.
std::string pretty_json(const oci::Json& json);
inline constexpr std::string_view kCreatedAnnotation = "org.opencontainers.image.created";
inline constexpr std::string_view kImageNameAnnotation = "io.containerd.image.name";
inline constexpr std::string_view kRefNameAnnotation = "org.opencontainers.image.ref.name";

// ---- attestations (statement.cc)

struct StatementSubject {
  std::string name;
  std::string sha256_hex;
};
// The manifest under each of its names; without names it is "_".
std::vector<StatementSubject> image_subjects(const std::vector<std::string>& names,
                                             const oci::Platform& platform,
                                             std::string_view manifest_digest);
// in-toto Statement v1, compact JSON.
std::string in_toto_statement(const Attestation& attestation,
                              const std::vector<StatementSubject>& subjects);

// The annotations of one place; of manifests those for `platform` and for all.
std::map<std::string, std::string> annotations_of(const ExportOptions& options,
                                                  Annotation::Type type,
                                                  const oci::Platform* platform);

// The forms. Options and platforms were checked by export_build().
struct ExportJob {
  store::Store& store;
  const std::vector<BuiltPlatform>& built;
  const ExportOptions& options;
  EventBus& events;
  std::stop_token stop;
  SpanId span = 0;
};
Result<void> export_rootfs_tar(const ExportJob& job);
Result<void> export_rootfs_directory(const ExportJob& job);
Result<oci::Descriptor> export_oci(const ExportJob& job);
Result<oci::Descriptor> export_docker(const ExportJob& job);

}  // namespace kasane::transfer
