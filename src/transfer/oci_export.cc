// type=oci (reference O03, O06, O07, MP1, MP4, T02, T05, T10): BuildKit's documents
// (exporter/containerimage/writer.go), in a tar as containerd orders it, or merged into a
// layout directory as buildx does (client/ociindex).
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "oci/image_config.h"
#include "oci/reference.h"
#include "transfer/layer_export.h"
#include "transfer/layout_index.h"
#include "transfer/oci_documents.h"

namespace kasane::transfer {
namespace {

// ---- names

// One descriptor per name; `unnamed` is the tag when there are none.
std::vector<oci::Descriptor> named(const oci::Descriptor& top,
                                   const std::vector<std::string>& names,
                                   const std::string& unnamed) {
  std::vector<oci::Descriptor> out;
  for (const std::string& name : names) {
    oci::Descriptor descriptor = top;
    descriptor.annotations[std::string(kImageNameAnnotation)] = name;
    const Result<oci::Reference> reference = oci::Reference::parse(name);
    descriptor.annotations[std::string(kRefNameAnnotation)] = reference ? reference->tag : name;
    out.push_back(std::move(descriptor));
  }
  if (!out.empty()) return out;
  out.push_back(top);
  if (!unnamed.empty()) out.back().annotations[std::string(kRefNameAnnotation)] = unnamed;
  return out;
}

// ---- tar

Result<void> write_tar(const ExportJob& job, const OciDocuments& layout, const OutputFile& file) {
  OutputSink sink(file.fd(), file.name(), job.stop);
  ArchiveWriter writer(sink, job.options.epoch.value_or(0));
  TRY(writer.directory("blobs"));
  TRY(writer.directory("blobs/sha256"));
  for (const auto& [hex, blob] : layout.blobs()) {
    std::unique_ptr<ByteSource> source = TRY(blob.open());
    TRY(writer.stream("blobs/sha256/" + hex, blob.size, blob.digest, *source));
  }
  oci::Index index;
  index.media_type = oci::kMediaTypeIndex;
  index.manifests = named(layout.top(), job.options.names, "");
  TRY(writer.text("index.json", index.serialize()));
  TRY(writer.text("oci-layout", kLayoutFile));
  TRY(writer.finish());
  return sink.flush();
}

Result<oci::Descriptor> export_tar(const ExportJob& job) {
  OutputFile file = TRY(OutputFile::open(job.options.dest));
  const store::Store::Ingest spool = TRY(job.store.new_ingest());
  OciDocuments layout(job.options, job.built, TRY(make_layer_blobs(job, spool.path())));
  Span span(job.events, "sending tarball", job.span);
  const Result<void> written = write_tar(job, layout, file);
  written ? span.done() : span.fail(written.error());
  TRY(Result<void>(written));
  TRY(file.commit());
  return layout.top();
}

// ---- directory

Result<void> place_blob(const ExportJob& job, const OutputBlob& blob, const std::string& spool,
                        const std::string& target) {
  struct stat st;
  if (::lstat(target.c_str(), &st) == 0 && S_ISREG(st.st_mode) &&
      static_cast<uint64_t>(st.st_size) == blob.size)
    return {};
  std::string from = blob.file;
  if (!blob.owned) {
    from = spool + "/blob";
    UniqueFd fd = TRY(open_file(from, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0644));
    OutputSink sink(fd.get(), from, job.stop);
    HashingSink checked(&sink);
    std::unique_ptr<ByteSource> source = TRY(blob.open());
    TRY(copy_stream(*source, checked));
    TRY(sink.flush());
    if (checked.finish() != blob.digest)
      return Error(ErrorKind::kCorrupt, blob.digest.str() + " is damaged in the store")
          .hint("`kasane store check` tells the extent; build or load the image again");
  }
  UniqueFd fd = TRY(open_file(from, O_RDONLY | O_NOFOLLOW));
  TRY(sync_fd(fd.get(), from));
  if (::rename(from.c_str(), target.c_str()) != 0)
    return Error::from_errno(errno, "rename to " + target);
  return {};
}

Result<oci::Descriptor> write_directory(const ExportJob& job, const std::string& spool) {
  const std::string& dest = job.options.dest;
  const std::string blobs = dest + "/blobs/sha256";
  OciDocuments layout(job.options, job.built, TRY(make_layer_blobs(job, spool)));
  TRY(make_directories(blobs));
  for (const auto& [hex, blob] : layout.blobs()) {
    if (job.stop.stop_requested()) return cancelled();
    TRY(place_blob(job, blob, spool, blobs + "/" + hex));
  }
  TRY(sync_directory(blobs));
  TRY(name_in_layout(dest, named(layout.top(), job.options.names, "latest")));
  return layout.top();
}

Result<oci::Descriptor> export_directory(const ExportJob& job) {
  const std::string& dest = job.options.dest;
  struct stat st;
  if (::stat(dest.c_str(), &st) == 0 && !S_ISDIR(st.st_mode))
    return Error(ErrorKind::kInvalid, "destination directory " + dest + " is a file")
        .hint("leave tar=false out to write the layout as a tar");
  TRY(make_directories(dest));
  std::string spool = dest + "/.kasane-XXXXXX";
  if (!::mkdtemp(spool.data())) return Error::from_errno(errno, "create a directory in " + dest);
  Result<oci::Descriptor> written = write_directory(job, spool);
  const Result<void> removed = remove_tree(spool);
  if (written && !removed) return removed.error();
  return written;
}

}  // namespace

Result<oci::Descriptor> export_oci(const ExportJob& job) {
  return job.options.tar ? export_tar(job) : export_directory(job);
}

}  // namespace kasane::transfer
