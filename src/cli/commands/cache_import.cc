// kasane cache import: fills a cache mount from a tar.
#include <fmt/format.h>

#include <charconv>

#include "base/compress.h"
#include "cli/command.h"
#include "store/cache_mounts.h"
#include "store/store.h"

namespace kasane::cli {
namespace {

Result<uint32_t> number(const Arguments& arguments, std::string_view flag, int base) {
  const std::string text = arguments.value(flag);
  uint32_t value = 0;
  auto parsed = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (text.empty() || parsed.ec != std::errc() || parsed.ptr != text.data() + text.size() ||
      (base == 8 && value > 07777))
    return Error(ErrorKind::kInvalid, fmt::format("invalid --{}: {}", flag, quote(text)));
  return value;
}

// The cache of that id when there is exactly one and no flag says otherwise: it was made
// with the options that the Dockerfile has.
Result<store::CacheMountRequest> request_of(store::Store& store, const Arguments& arguments) {
  store::CacheMountRequest out;
  out.id = arguments.positional()[0];
  const bool given = arguments.given("mode") || arguments.given("uid") || arguments.given("gid") ||
                     arguments.given("namespace");
  if (!given) {
    Result<store::CacheMountInfo> known = store::find_cache_mount(store, out.id);
    if (!known && known.error().kind() != ErrorKind::kNotFound) return std::move(known.error());
    if (known && !known->sharing.empty()) {
      out.id = known->id;
      out.namespace_ = known->namespace_;
      out.base_digest = known->base_digest;
      out.mode = known->mode;
      out.uid = known->uid;
      out.gid = known->gid;
      return out;
    }
  }
  out.namespace_ = arguments.value("namespace");
  out.mode = TRY(number(arguments, "mode", 8));
  out.uid = TRY(number(arguments, "uid", 10));
  out.gid = TRY(number(arguments, "gid", 10));
  return out;
}

Result<int> run_import(Context& context, const Arguments& arguments) {
  const std::string& input = arguments.positional()[1];
  UniqueFd file;
  if (input != "-") file = TRY(open_file(input, O_RDONLY));
  store::Store* store = TRY(context.store(false));
  const store::CacheMountRequest request = TRY(request_of(*store, arguments));
  FdSource source(file ? file.get() : context.streams.in_fd, "read " + input);
  OpenedStream tar = TRY(open_decompressed(source));
  TRY(store::import_cache_mount(*store, request, *tar.source));
  return 0;
}

constexpr FlagSpec kFlags[] = {
    {.name = "gid",
     .kind = FlagKind::kString,
     .value_name = "int",
     .help = "gid= of the cache mount",
     .default_text = "0"},
    {.name = "mode",
     .kind = FlagKind::kString,
     .value_name = "octal",
     .help = "mode= of the cache mount",
     .default_text = "0755"},
    {.name = "namespace",
     .kind = FlagKind::kString,
     .value_name = "string",
     .help = "Namespace of the cache mount"},
    {.name = "uid",
     .kind = FlagKind::kString,
     .value_name = "int",
     .help = "uid= of the cache mount",
     .default_text = "0"},
};

}  // namespace

extern const Command kCommand_cache_import;
const Command kCommand_cache_import = {
    .path = "cache import",
    .aliases = {},
    .summary = "Replace the content of a cache mount by that of a tar archive",
    .usage = "[OPTIONS] ID|KEY FILE|-",
    .help =
        "The archive may be compressed. The cache is made when there is none of that id; its\n"
        "owner and mode are then part of what it is and must be those of the Dockerfile. A\n"
        "cache that a build uses is not touched.\n\n"
        "Examples:\n"
        "  kasane cache import /root/.cache/go-build go-build.tar\n"
        "  zstdcat npm.tar.zst | kasane cache import --uid 1000 npm -",
    .flags = kFlags,
    .min_arguments = 2,
    .max_arguments = 2,
    .run = run_import,
};

}  // namespace kasane::cli
