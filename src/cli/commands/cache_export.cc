// kasane cache export: the content of a cache mount as a tar.
#include <fmt/format.h>

#include "cli/command.h"
#include "cli/output_file.h"
#include "store/cache_mounts.h"
#include "store/store.h"

namespace kasane::cli {
namespace {

Result<int> run_export(Context& context, const Arguments& arguments) {
  const std::string& name = arguments.positional()[0];
  const std::string& output = arguments.positional()[1];
  if (output == "-" && context.streams.out_is_terminal) {
    context.err("cowardly refusing to write an archive to a terminal. Name a file or redirect\n");
    return 1;
  }
  store::Store* store = TRY(context.store(true));
  const store::CacheMountInfo mount = TRY(store::find_cache_mount(*store, name));
  if (output == "-") {
    TRY(store::export_cache_mount(*store, mount, *context.streams.out));
    return 0;
  }
  OutputFile file = TRY(OutputFile::open(output));
  BufferedFdSink sink(file.fd(), "write " + output);
  TRY(store::export_cache_mount(*store, mount, sink));
  TRY(sink.flush());
  TRY(file.commit());
  return 0;
}

}  // namespace

extern const Command kCommand_cache_export;
const Command kCommand_cache_export = {
    .path = "cache export",
    .aliases = {},
    .summary = "Write the content of a cache mount to a tar archive",
    .usage = "ID|KEY FILE|-",
    .help =
        "The same content gives the same bytes, so that archives can be compared. Builds may\n"
        "go on meanwhile, unless one has the cache alone (sharing=locked).\n\n"
        "Examples:\n"
        "  kasane cache export /root/.cache/go-build go-build.tar\n"
        "  kasane cache export npm - | zstd > npm.tar.zst",
    .flags = {},
    .min_arguments = 2,
    .max_arguments = 2,
    .run = run_export,
};

}  // namespace kasane::cli
