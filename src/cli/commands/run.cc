// kasane run: a program of an image in the sandbox of the build steps, in the foreground.
#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>

#include <cerrno>

#include "base/diagnostic.h"
#include "cli/command.h"
#include "cli/run_options.h"
#include "cli/signals.h"
#include "oci/reference.h"
#include "store/layer.h"
#include "store/store.h"
#include "transfer/transfer.h"

namespace kasane::cli {
namespace {

constexpr int kOwnFailure = 125;  // as docker: not the program's

// The image for the platform that was asked for, or else best for this host.
Result<Sha256Digest> find(store::Store& store, const RunOptions& options) {
  oci::Platform wanted = options.platform.value_or(oci::Platform::host());
  if (auto reference = oci::Reference::parse(options.image)) {
    std::string canonical = reference->with_default_tag().canonical();
    if (auto own = TRY(store.find_tag_platform(canonical, wanted.str()))) return *own;
  }
  Result<Sha256Digest> found = transfer::find_image(store, options.image);
  if (!found && found.error().kind() == ErrorKind::kNotFound)
    return Error(ErrorKind::kNotFound, "No such image: " + options.image)
        .hint(
            "build it with `kasane build -t NAME .`, or bring it in with `kasane load` or `kasane "
            "import`");
  return found;
}

Result<void> check_platform(const RunOptions& options, const oci::ImageConfig& config) {
  oci::Platform platform{config.os, config.architecture, config.variant, ""};
  platform = platform.normalized();
  if (options.platform && platform != options.platform->normalized())
    return Error(ErrorKind::kNotFound, fmt::format("image {} is for {}, not for {}", options.image,
                                                   platform.str(), options.platform->str()));
  if (std::optional<std::string> why = exec::why_cannot_execute(platform))
    return Error(ErrorKind::kUnsupported,
                 "cannot run programs for " + platform.str() + " here: " + *why);
  return {};
}

Result<void> add_root(store::Store& store, const oci::ImageConfig& config,
                      const std::string& scratch, exec::RunSpec& spec) {
  for (const Sha256Digest& diff_id : config.diff_ids) {
    store::LayerPtr layer = TRY(store::open_layer(store, diff_id));
    if (layer->index().size() == 0) continue;  // nothing to show, and overlayfs has a limit
    spec.lower_trees.push_back(TRY(layer->ensure_tree(store)));
  }
  spec.upper_dir = scratch + "/upper";
  spec.work_dir = scratch + "/work";
  for (const std::string& dir : {spec.upper_dir, spec.work_dir})
    if (::mkdir(dir.c_str(), 0755) != 0 || ::chmod(dir.c_str(), 0755) != 0)
      return Error::from_errno(errno, "create " + dir);
  return {};
}

Result<exec::RunSpec> make_spec(const Context& context, const RunOptions& options,
                                const oci::ContainerConfig& image) {
  exec::RunSpec spec;
  spec.argv = TRY(command_line(options, image));
  spec.env = environment(options, image);
  spec.cwd = options.cwd.value_or(image.working_dir.empty() ? "/" : image.working_dir);
  spec.user = options.user.value_or(image.user);
  spec.hostname = options.hostname;
  spec.network = options.network;
  spec.mounts = options.mounts;
  spec.read_only_root = options.read_only;
  for (const build::RunSettings::ExtraHost& host : options.settings.extra_hosts)
    spec.extra_hosts.push_back(host.address + "\t" + host.name);
  spec.ulimits = options.settings.ulimits;
  spec.shm_size_bytes = options.settings.shm_size_bytes;
  spec.memory_limit_bytes = options.settings.memory_limit_bytes;
  spec.pids_limit = options.settings.pids_limit.value_or(exec::kDefaultPidsLimit);
  spec.pids_limit_asked = options.settings.pids_limit.has_value();
  if (options.terminal)
    spec.terminal =
        exec::Terminal{options.interactive ? context.streams.in_fd : -1, context.streams.out_fd};
  else if (options.interactive)
    spec.stdin_fd = context.streams.in_fd;
  return spec;
}

Result<int> run_program(Context& context, const Arguments& arguments) {
  RunOptions options = TRY(run_options(context, arguments));
  store::Store* store = TRY(context.store(false));
  TRY(store->hold());
  Sha256Digest image = TRY(find(*store, options));
  oci::ImageConfig config = TRY(oci::ImageConfig::parse(TRY(store->image_config(image))));
  TRY(check_platform(options, config));
  exec::RunSpec spec = TRY(make_spec(context, options, config.config));
  std::unique_ptr<exec::Executor> executor = TRY(exec::make_sandbox_executor(store->root(), options.settings.seccomp));
  store::Store::Ingest ingest = TRY(store->new_ingest());  // what the program writes goes with it
  TRY(add_root(*store, config, ingest.path(), spec));

  auto signals = TRY(SignalRelay::start());
  spec.signal_fd = signals->fd();
  std::stop_source stop;
  auto log = [&](std::string_view bytes, int stream) {
    if (stream == 2) return context.err(bytes);
    context.out(bytes);
    context.flush();
    if (context.out_error()) stop.request_stop();  // nobody reads any more
  };
  Result<exec::RunOutcome> outcome = executor->run(spec, log, stop.get_token());
  if (context.out_error()) return 128 + SIGPIPE;
  if (!outcome) return std::move(outcome.error());
  if (!outcome->limit_note.empty()) context.err("Warning: " + sanitize(outcome->limit_note) + "\n");
  if (outcome->out_of_memory)
    context.err("The program was killed for using more memory than --memory allows.\n");
  return outcome->exit_status;
}

Result<int> run_run(Context& context, const Arguments& arguments) {
  Result<int> status = run_program(context, arguments);
  if (status) return status;
  RenderOptions options;
  options.prefix = "Error: ";
  context.err(render_error(status.error(), options));
  return kOwnFailure;
}

}  // namespace

extern const Command kCommand_run;
const Command kCommand_run = {
    .path = "run",
    .aliases = {},
    .summary = "Run a program of an image, in the foreground",
    .usage = "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    .help =
        "The program runs in the sandbox of the build steps, on top of the image; what it\n"
        "changes there is gone at its end, as with `docker run --rm`. There is no daemon and\n"
        "no detached mode. Signals are passed on to it, and its exit status is the command's:\n"
        "125 when kasane fails itself, 126 when the program cannot be started, 127 when it is\n"
        "not found.\n\n"
        "Examples:\n"
        "  kasane run --rm app\n"
        "  kasane run -it --entrypoint sh app\n"
        "  kasane run -v \"$PWD/data:/data:ro\" -e LEVEL=debug app ls /data",
    .flags = run_flags(),
    .min_arguments = 1,
    .runs_program = true,
    .run = run_run,
};

}  // namespace kasane::cli
