// The flag table of `kasane build`, and its flags about outputs and attestations.
#include <fmt/format.h>

#include "base/csv.h"
#include "base/diagnostic.h"
#include "cli/build_options.h"
#include "cli/build_outputs.h"

namespace kasane::cli {
namespace {

constexpr FlagSpec list(std::string_view name, std::string_view help, char shorthand = 0,
                        std::string_view value = "stringArray") {
  return {.name = name, .shorthand = shorthand, .kind = FlagKind::kList, .value_name = value, .help = help};
}
constexpr FlagSpec text(std::string_view name, std::string_view help, char shorthand = 0,
                        std::string_view default_text = {}, std::string_view value = "string") {
  return {.name = name,
          .shorthand = shorthand,
          .kind = FlagKind::kString,
          .value_name = value,
          .help = help,
          .default_text = default_text};
}
constexpr FlagSpec ignored(std::string_view name, FlagKind kind = FlagKind::kString) {
  return {.name = name,
          .kind = kind,
          .value_name = kind == FlagKind::kBool ? "" : "string",
          .help = "Accepted for docker's sake",
          .hidden = true};
}

constexpr FlagSpec kFlags[] = {
    list("add-host", "Add a host to /etc/hosts of the steps (format: \"host:ip\")"),
    list("allow", "Allow what a Dockerfile may not do by itself: network.host,\nsecurity.insecure, local.delete"),
    list("annotation", "Add an annotation to the image (format:\n\"[type[platform]:]key=value\")"),
    list("attest", "Attestation to make (format: \"type=provenance,mode=max\")"),
    list("build-arg", "Set build-time variables: NAME=VALUE, or NAME to take it from\nthe environment"),
    list("build-arg-file", "Read build arguments from a file, one a line"),
    list("build-context", "A further context (format: \"name=DIR\", \"name=docker-image://REF\",\n"
         "\"name=oci-layout://DIR[:TAG]\", \"name=target:STAGE\", a git\nrepository or a URL)"),
    ignored("builder"),
    list("cache-from", "Take cached steps from: \"type=local,src=DIR\", or an image that\nwas built with an inline cache"),
    list("cache-to", "Put cached steps to: \"type=local,dest=DIR[,mode=max]\" or\n\"type=inline\""),
    text("cache-ttl", "Do not use cached steps older than this (for example 24h)", 0, {}, "duration"),
    text("call", "What to do: \"build\", \"check\", \"outline\", \"targets\" (\",format=json\")", 0, "build"),
    ignored("cgroup-parent"),
    {.name = "check", .help = "Shorthand for \"--call=check\""},
    ignored("compress", FlagKind::kBool),
    ignored("cpu-period"),
    ignored("cpu-quota"),
    ignored("cpu-shares"),
    ignored("cpuset-cpus"),
    ignored("cpuset-mems"),
    {.name = "explain", .help = "Say for each step why it was cached, or which input changed"},
    text("file", "Name of the Dockerfile (default: \"PATH/Dockerfile\"; \"-\": STDIN)", 'f'),
    ignored("force-rm", FlagKind::kBool),
    text("iidfile", "Write the image ID to a file"),
    text("from", "Use this image in the first FROM"),
    text("isolation", "How steps run: in the built-in \"sandbox\", the default, or \"oci\": in\ncontainers of an OCI runtime", 0, "default"),
    text("jobs", "Steps to run at once (default: the number of processors)", 0, {}, "int"),
    list("label", "Set metadata for an image"),
    {.name = "load", .help = "Shorthand for \"--output=type=docker\": into the store, the default"},
    text("memory", "Memory limit of one step, where cgroups allow", 'm', {}, "bytes"),
    ignored("memory-swap"),
    text("metadata-file", "Write digests and names of the result to a file, as JSON"),
    text("network", "Networking mode for the RUN instructions: default, host,\nnone, private, pasta, slirp4netns", 0, "default"),
    {.name = "no-cache", .help = "Do not use cache when building the image"},
    list("no-cache-filter", "Do not use cache for these stages"),
    list("output", "Output (format: \"type=local|tar|oci|docker|image,dest=PATH\"; a\nbare path is a directory, \"-\" a tar to STDOUT)", 'o'),
    text("pids-limit", "Processes that one step may have, where cgroups allow\n(default: 4096; -1: no limit)", 0, {}, "int"),
    list("platform", "Target platforms; several make an image index"),
    text("progress", "Type of progress output: auto, tty, plain, quiet, rawjson", 0, "auto"),
    text("provenance", "Shorthand for \"--attest=type=provenance\""),
    {.name = "pull", .help = "Always ask the registry for newer versions of the bases"},
    {.name = "push", .help = "Shorthand for \"--output=type=registry\""},
    {.name = "quiet", .shorthand = 'q', .help = "Suppress the build output and print image ID on success"},
    {.name = "resources", .help = "Report time, memory and bytes written of each step at the end"},
    text("retry", "Tries again for downloads that failed", 0, "2", "int"),
    {.name = "rm", .help = "Accepted for docker's sake", .default_text = "true", .hidden = true},
    text("run-timeout", "End a RUN that takes longer (for example 90s, 10m)", 0, {}, "duration"),
    text("runtime", "OCI runtime: crun, runc, runsc or a path; implies --isolation=oci\n(default: crun, else runc)"),
    text("sbom", "Shorthand for \"--attest=type=sbom\""),
    list("secret", "Secret for the build (format: \"id=ID[,src=FILE|,env=NAME]\")"),
    list("security-opt", "System calls of the steps (format:\n\"seccomp=FILE|builtin|unconfined\")"),
    text("shm-size", "Size of /dev/shm in the steps", 0, {}, "bytes"),
    {.name = "squash", .help = "Merge the new layers into one; the steps stay cached one by one"},
    list("ssh", "SSH agent socket or keys for the build (format:\n\"default|ID[=SOCKET|KEY[,KEY]]\")"),
    list("tag", "Name and optionally a tag (format: \"name:tag\")", 't'),
    text("target", "Set the target build stage to build"),
    text("timestamp", "Seconds since 1970 for all times in the image, as\nSOURCE_DATE_EPOCH", 0, {}, "int"),
    list("ulimit", "Ulimit options for the steps (format: \"nofile=1024:2048\")", 0, "ulimit"),
    list("unsetenv", "Take a variable of the base out of the image"),
    list("unsetlabel", "Take a label of the base out of the image"),
};

// "true", "false", "mode=max", "mode=min,...": what --provenance and --attest hold.
Result<void> add_provenance(const std::string& value, build::BuildOptions& options) {
  auto pairs = TRY_CONTEXT(split_csv_pairs(value), "--provenance");
  options.provenance = build::ProvenanceMode::kMin;
  for (const auto& [key, setting] : pairs) {
    if (key == "mode" && (setting == "min" || setting == "max"))
      options.provenance = setting == "max" ? build::ProvenanceMode::kMax : build::ProvenanceMode::kMin;
    else if (key == "builder-id")
      options.provenance_builder_id = setting;
    else if (setting.empty() && parse_bool(key) == std::optional(false))
      options.provenance = build::ProvenanceMode::kNone;
    else if (key == "disabled" && parse_bool(setting) == std::optional(true))
      options.provenance = build::ProvenanceMode::kNone;
    else if (!(setting.empty() && parse_bool(key)) && key != "type" && key != "version" &&
             key != "reproducible" && key != "inline-only" && key != "filename" && key != "disabled")
      return Error(ErrorKind::kInvalid, fmt::format("unknown provenance attribute {}", quote(key)))
          .hint("use mode=min or mode=max");
  }
  return {};
}

Error no_sbom() {
  return Error(ErrorKind::kUnsupported, "this version of kasane makes no SBOM attestation")
      .hint("it comes with `kasane scan`; --sbom=false is accepted");
}

Result<void> add_attestations(const Arguments& arguments, build::BuildOptions& options) {
  std::vector<std::string> attests = arguments.list("attest");
  if (arguments.given("provenance")) attests.push_back("type=provenance," + arguments.value("provenance"));
  if (arguments.given("sbom")) attests.push_back("type=sbom," + arguments.value("sbom"));
  for (const std::string& attest : attests) {
    auto pairs = TRY_CONTEXT(split_csv_pairs(attest), "--attest");
    std::string type;
    bool off = false;
    for (const auto& [key, value] : pairs) {
      if (key == "type") type = value;
      off |= (value.empty() && parse_bool(key) == std::optional(false)) ||
             (key == "disabled" && parse_bool(value) == std::optional(true));
    }
    if (type == "provenance")
      TRY(add_provenance(attest, options));
    else if (type != "sbom")
      return Error(ErrorKind::kInvalid, "unknown attestation type " + quote(type)).hint("use provenance or sbom");
    else if (!off)
      return no_sbom();
  }
  return {};
}

}  // namespace

std::span<const FlagSpec> build_flags() { return kFlags; }

Result<void> add_outputs(const Arguments& arguments, build::BuildOptions& options) {
  for (const std::string& value : arguments.list("output"))
    options.outputs.push_back(TRY(transfer::parse_output(value)));
  if (arguments.on("load")) options.outputs.push_back(TRY(transfer::parse_output("type=docker")));
  if (arguments.on("push")) options.outputs.push_back(TRY(transfer::parse_output("type=registry")));
  for (const std::string& value : arguments.list("annotation")) {
    std::vector<transfer::Annotation> parsed = TRY(transfer::parse_annotation(value));
    options.annotations.insert(options.annotations.end(), parsed.begin(), parsed.end());
  }
  for (const transfer::ExportOptions& output : options.outputs) {
    TRY(transfer::check_local_delete(output, options.allow_local_delete));
    if (output.is_files() && arguments.given("iidfile"))
      return Error(ErrorKind::kInvalid, "local and tar exporters are incompatible with image ID file");
  }
  options.squash = arguments.on("squash");
  options.metadata_file = arguments.value("metadata-file");
  options.cache_from = arguments.list("cache-from");
  options.cache_to = arguments.list("cache-to");
  return add_attestations(arguments, options);
}

}  // namespace kasane::cli
