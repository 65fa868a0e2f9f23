// type=tar (reference O02): the merged root file system as a canonical tar.
#include "transfer/export_internal.h"
#include "transfer/rootfs_plan.h"

namespace kasane::transfer {
namespace {

Result<void> write_tar(RootfsPlan& plan, ByteSink& out) {
  tar::Writer writer(out);
  struct MemberSink : ByteSink {
    tar::Writer& writer;
    explicit MemberSink(tar::Writer& w) : writer(w) {}
    Result<void> write(std::span<const uint8_t> bytes) override { return writer.write(bytes); }
  } member(writer);
  for (const RootfsEntry& entry : plan.entries()) {
    const tar::Entry header = plan.header(entry);
    TRY_CONTEXT(writer.begin(header), "write '" + entry.path + "'");
    if (entry.type == tar::EntryType::kFile && header.size > 0)
      TRY(copy_stream(*TRY(plan.content(entry)), member));
    TRY(writer.finish_member());
  }
  return writer.finish();
}

}  // namespace

Result<void> export_rootfs_tar(const ExportJob& job) {
  RootfsPlan plan = TRY(RootfsPlan::make(job.store, job.built, job.options));
  OutputFile file = TRY(OutputFile::open(job.options.dest));
  OutputSink sink(file.fd(), file.name(), job.stop);
  TRY(write_tar(plan, sink));
  TRY(sink.flush());
  return file.commit();
}

}  // namespace kasane::transfer
