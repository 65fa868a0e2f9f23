// kasane import (reference 1.11).
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/diagnostic.h"
#include "build/lower/lower.h"
#include "cli/command.h"
#include "cli/signals.h"
#include "dockerfile/parser.h"
#include "net/http.h"
#include "oci/reference.h"
#include "transfer/transfer.h"

namespace kasane::cli {
namespace {

constexpr std::string_view kVerbs[] = {"CMD",         "ENTRYPOINT", "ENV",     "EXPOSE",
                                       "HEALTHCHECK", "LABEL",      "ONBUILD", "STOPSIGNAL",
                                       "USER",        "VOLUME",     "WORKDIR"};

// The configuration that the --change instructions leave, by the builder's own rules.
Result<oci::ContainerConfig> changed_config(store::Store& store, const oci::Platform& platform,
                                            const std::vector<std::string>& changes) {
  if (changes.empty()) return oci::ContainerConfig();
  std::string text = "FROM scratch\n";
  for (const std::string& change : changes) text += change + "\n";
  dockerfile::Dockerfile file = TRY(dockerfile::parse("--change", std::move(text)));
  if (file.stages.size() != 1)
    return Error(ErrorKind::kInvalid, "FROM is not a valid change command");
  for (const dockerfile::Instruction& instruction : file.stages[0].instructions) {
    std::string_view verb = instruction.name();
    if (std::find(std::begin(kVerbs), std::end(kVerbs), verb) == std::end(kVerbs))
      return Error(ErrorKind::kInvalid, fmt::format("{} is not a valid change command", verb))
          .at(instruction.span)
          .hint(fmt::format("use one of {}", fmt::join(kVerbs, ", ")));
  }
  build::LowerOptions options;
  options.platforms = {platform};
  options.platform_asked = true;
  build::Graph graph = TRY(build::lower(store, file, options));
  oci::ContainerConfig config = std::move(graph.targets.front().config.config);
  // FROM scratch gives PATH, a working directory and BuildKit's mark of CMD; an imported root
  // file system gets only what the changes say, as docker does it.
  bool path = false;
  bool workdir = false;
  for (const dockerfile::Instruction& instruction : file.stages[0].instructions) {
    workdir = workdir || std::holds_alternative<dockerfile::Workdir>(instruction.value);
    if (const auto* env = std::get_if<dockerfile::Env>(&instruction.value))
      for (const dockerfile::KeyValue& pair : env->pairs) path = path || pair.key.text == "PATH";
  }
  if (!path)
    std::erase_if(config.env, [](const std::string& entry) { return entry.starts_with("PATH="); });
  if (!workdir) config.working_dir.clear();
  config.args_escaped = false;
  return config;
}

Result<oci::Platform> platform_of(Context& context, const Arguments& arguments) {
  std::string text = arguments.value("platform");
  if (text.empty()) text = context.env("DOCKER_DEFAULT_PLATFORM").value_or("");
  if (text.empty()) return oci::Platform::host();
  return oci::Platform::parse(text);
}

Result<std::string> target_of(const std::vector<std::string>& words) {
  if (words.size() < 2) return std::string();
  oci::Reference parsed = TRY(oci::Reference::parse(words[1]));
  if (!parsed.digest.empty()) return Error(ErrorKind::kInvalid, "cannot import digest reference");
  return parsed.with_default_tag().canonical();
}

bool is_url(const std::string& source) {
  return source.starts_with("http://") || source.starts_with("https://");
}

// The body of the URL as a file without a name.
Result<UniqueFd> download(Context& context, store::Store& store, const std::string& url) {
  context.out(fmt::format("Downloading from {}\n", sanitize(net::redact_url(url))));
  context.flush();
  auto interrupts = TRY(InterruptWatcher::start());
  store::Store::Ingest ingest = TRY(store.new_ingest());
  const std::string path = ingest.path() + "/import";
  UniqueFd file = TRY(open_file(path, O_RDWR | O_CREAT | O_EXCL));
  BufferedFdSink sink(file.get(), "write " + path);
  net::HttpRequest request;
  request.url = url;
  net::HttpResponse response = TRY(net::http_fetch(request, sink, interrupts->token()));
  TRY(sink.flush());
  if (response.status != 200)
    return Error(ErrorKind::kNetwork, fmt::format("{}: the server answered with status {}",
                                                  net::redact_url(url), response.status));
  if (::lseek(file.get(), 0, SEEK_SET) < 0) return Error::from_errno(errno, "seek in " + path);
  return file;  // its name goes with the ingest folder
}

// What docker's client says before it asks anybody; "" when it says nothing.
std::string refuse_words(const std::vector<std::string>& words) {
  if (words.size() > 1)
    if (auto parsed = oci::Reference::parse(words[1]); !parsed) return parsed.error().message();
  if (words[0] != "-" && !is_url(words[0]) && ::access(words[0].c_str(), F_OK) != 0)
    return fmt::format("open {}: no such file or directory", words[0]);
  return {};
}

Result<int> run_import(Context& context, const Arguments& arguments) {
  const std::vector<std::string>& words = arguments.positional();
  if (const std::string why = refuse_words(words); !why.empty()) {
    context.err(sanitize(why) + "\n");
    return 1;
  }
  const bool url = is_url(words[0]);
  transfer::ImportImage image;
  image.reference = TRY(target_of(words));
  oci::Platform platform = TRY(platform_of(context, arguments));
  UniqueFd file;
  if (words[0] != "-" && !url) file = TRY(open_file(words[0], O_RDONLY));
  store::Store* store = TRY(context.store(false));
  image.config.config = TRY(changed_config(*store, platform, arguments.list("change")));
  image.config.os = platform.os;
  image.config.architecture = platform.architecture;
  image.config.variant = platform.variant;
  image.config.created = oci::format_time(context.now_ns());
  image.message = arguments.value("message");
  // docker's client sends a file as its own standard input.
  if (image.message.empty()) image.message = "Imported from " + (url ? words[0] : std::string("-"));
  if (url) file = TRY(download(context, *store, words[0]));
  FdSource source(file ? file.get() : context.streams.in_fd, "read " + words[0]);
  Sha256Digest id = TRY(transfer::import_rootfs(*store, source, std::move(image)));
  context.out(id.str() + "\n");
  return 0;
}

constexpr FlagSpec kFlags[] = {
    {.name = "change",
     .shorthand = 'c',
     .kind = FlagKind::kList,
     .value_name = "list",
     .help = "Apply Dockerfile instruction to the created image"},
    {.name = "message",
     .shorthand = 'm',
     .kind = FlagKind::kString,
     .value_name = "string",
     .help = "Set commit message for imported image"},
    {.name = "platform",
     .kind = FlagKind::kString,
     .value_name = "string",
     .help = "Platform of the image: os[/arch[/variant]] (default: this host's)"},
};
constexpr std::string_view kAliases[] = {"image import"};

}  // namespace

extern const Command kCommand_import;
const Command kCommand_import = {
    .path = "import",
    .aliases = kAliases,
    .summary = "Import the contents from a tarball to create a filesystem image",
    .usage = "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
    .help =
        "The archive, compressed or not, becomes the only layer of a new image, whose id is\n"
        "printed. --change takes CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD,\n"
        "STOPSIGNAL, USER, VOLUME and WORKDIR.\n\n"
        "Examples:\n"
        "  kasane import rootfs.tar.xz debian:local\n"
        "  kasane import https://example.com/rootfs.tar.gz\n"
        "  mmdebstrap bookworm - | kasane import -c 'CMD [\"bash\"]' - debian:bookworm",
    .flags = kFlags,
    .min_arguments = 1,
    .max_arguments = 2,
    .run = run_import,
};

}  // namespace kasane::cli
