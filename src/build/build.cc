#include "build/build.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <set>
#include <thread>

#include "build/assemble.h"
#include "build/lower/lower.h"
#include "build/scheduler.h"
#include "dockerfile/args.h"
#include "dockerfile/parser.h"
#include "oci/reference.h"

namespace kasane::build {
namespace {

constexpr uint64_t kMaxIgnoreFile = 4u << 20;

struct Inputs {
  dockerfile::Dockerfile file;
  dockerfile::IgnoreMatcher ignore;
  std::string ignore_name = ".dockerignore";
  std::string context_path;  // canonical
  std::string file_name;     // as shown
};

Result<std::string> canonical_directory(const std::string& directory) {
  char resolved[PATH_MAX];
  if (!::realpath(directory.c_str(), resolved)) {
    if (errno == ENOENT)
      return Error(ErrorKind::kNotFound, "unable to prepare context: path \"" + directory + "\" not found")
          .hint("give the directory that holds the files to copy, for example: kasane build .");
    return Error::from_errno(errno, "unable to prepare context: " + directory);
  }
  struct stat st;
  if (::stat(resolved, &st) == 0 && !S_ISDIR(st.st_mode))
    return Error(ErrorKind::kInvalid, "unable to prepare context: \"" + directory + "\" is not a directory");
  return std::string(resolved);
}

Result<std::string> read_standard_input() {
  FdSource source(0, "standard input");
  StringSink sink;
  TRY(copy_stream(source, sink, dockerfile::kMaxDockerfileBytes));
  return std::move(sink.text);
}

// X01, X02: PATH/Dockerfile, else PATH/dockerfile; -f is relative to the current directory.
Result<std::string> find_dockerfile(const BuildOptions& options, const std::string& context) {
  if (options.dockerfile) return *options.dockerfile;
  for (const char* name : {"/Dockerfile", "/dockerfile"})
    if (::access((context + name).c_str(), F_OK) == 0) return context + name;
  return Error(ErrorKind::kNotFound, "failed to read dockerfile: open Dockerfile: no such file or directory")
      .hint("there is no Dockerfile in " + context + "; name another file with -f");
}

// G01: <Dockerfile>.dockerignore replaces the one of the context.
Result<void> read_ignore_file(Inputs& inputs, const std::string& dockerfile_path) {
  std::string beside = dockerfile_path + ".dockerignore";
  std::string path = inputs.context_path + "/.dockerignore";
  if (dockerfile_path != "-" && ::access(beside.c_str(), F_OK) == 0) {
    path = beside;
    inputs.ignore_name = inputs.file_name + ".dockerignore";
  }
  Result<std::string> text = read_file(path, kMaxIgnoreFile);
  if (!text && text.error().kind() == ErrorKind::kNotFound) return {};
  if (!text) return std::move(text.error()).context("read " + inputs.ignore_name);
  inputs.ignore = TRY(dockerfile::IgnoreMatcher::parse(
      std::make_shared<SourceText>(inputs.ignore_name, std::move(*text))));
  return {};
}

Result<Inputs> read_inputs(const BuildOptions& options) {
  Inputs inputs;
  inputs.context_path = TRY(canonical_directory(options.context_dir));
  std::string path = TRY(find_dockerfile(options, inputs.context_path));
  std::string text;
  if (path == "-") {
    text = TRY(read_standard_input());
    inputs.file_name = "Dockerfile";
  } else {
    text = TRY_CONTEXT(read_file(path, dockerfile::kMaxDockerfileBytes), "failed to read dockerfile");
    inputs.file_name = path.substr(path.rfind('/') + 1);
  }
  TRY(read_ignore_file(inputs, path));
  inputs.file = TRY(dockerfile::parse(inputs.file_name, std::move(text)));
  return inputs;
}

Result<std::vector<std::string>> canonical_tags(const std::vector<std::string>& tags) {
  std::vector<std::string> canonical;
  for (const std::string& tag : tags) {
    Result<oci::Reference> reference = oci::Reference::parse(tag);
    if (!reference)
      return Error(ErrorKind::kInvalid, "invalid tag \"" + tag + "\": " + reference.error().message());
    if (!reference->digest.empty())
      return Error(ErrorKind::kInvalid, "invalid tag \"" + tag + "\": a tag cannot hold a digest");
    canonical.push_back(reference->with_default_tag().canonical());
  }
  return canonical;
}

// A15: an integer, given as build argument (the command line forwards the variable).
Result<std::optional<int64_t>> source_date_epoch(const BuildOptions& options) {
  auto it = options.build_args.find("SOURCE_DATE_EPOCH");
  if (it == options.build_args.end() || it->second.empty()) return std::optional<int64_t>();
  const std::string& text = it->second;
  if (text.size() > 11 || text.find_first_not_of("0123456789") != std::string::npos)
    return Error(ErrorKind::kInvalid, "invalid SOURCE_DATE_EPOCH: " + text)
        .hint("give seconds since 1970, for example: SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)");
  return std::optional<int64_t>(std::stoll(text));
}

std::vector<StepReport> reports_of(const Graph& graph, const std::map<VertexId, VertexResult>& results) {
  std::vector<StepReport> reports;
  for (const auto& [id, result] : results)
    reports.push_back({graph.vertices[static_cast<size_t>(id)].name, result.cached, result.reason,
                       result.details});
  return reports;
}

// A08, and what the parser and the lowering saw.
std::vector<std::string> warnings_of(const BuildOptions& options, const dockerfile::Dockerfile& file,
                                     const Graph& graph) {
  std::vector<std::string> warnings;
  for (const dockerfile::Warning& warning : file.warnings)
    warnings.push_back(warning.rule + ": " + warning.message + " (line " +
                       std::to_string(warning.span.first_line()) + ")");
  warnings.insert(warnings.end(), graph.warnings.begin(), graph.warnings.end());
  std::set<std::string> declared;
  auto declare = [&](const dockerfile::Arg& arg) {
    for (const dockerfile::ArgDefinition& definition : arg.args) declared.insert(definition.key.text);
  };
  for (const dockerfile::MetaArg& meta : file.meta_args) declare(meta.arg);
  for (const dockerfile::Stage& stage : file.stages)
    for (const dockerfile::Instruction& instruction : stage.instructions)
      if (const auto* arg = std::get_if<dockerfile::Arg>(&instruction.value)) declare(*arg);
  for (const auto& [name, value] : options.build_args)
    if (!declared.contains(name) && !dockerfile::is_predefined_arg(name))
      warnings.push_back("build argument " + name + " is not used: no ARG declares it");
  return warnings;
}

// Writes nothing when the image and its tags are already there.
Result<Sha256Digest> store_image(store::Store& store, const oci::ImageConfig& config,
                                 const std::vector<std::string>& tags, EventBus& events) {
  Span span(events, "exporting to image");
  std::string json = config.serialize();
  Sha256Digest id = sha256(json);
  if (!store.image_row(id)) {
    store::ImageRecord record;
    record.config_json = std::move(json);
    record.diff_ids = config.diff_ids;
    record.tags = tags;
    Result<Sha256Digest> put = store.put_image(record);
    if (!put) {
      span.fail(put.error());
      return put.error();
    }
  }
  span.log("writing image " + id.str() + " done\n", 2);
  for (const std::string& tag : tags) {
    std::optional<Sha256Digest> current = TRY(store.find_tag(tag));
    if (!current || *current != id) TRY(store.tag(id, tag));
    span.log("naming to " + tag + " done\n", 2);
  }
  span.done();
  return id;
}

int64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * 1'000'000'000ll + now.tv_nsec;
}

LowerOptions lower_options(const BuildOptions& options, const Inputs& inputs,
                           std::optional<int64_t> epoch, int64_t now) {
  LowerOptions lowering;
  lowering.target = options.target;
  lowering.build_args = options.build_args;
  lowering.labels = options.labels;
  lowering.network = options.network;
  lowering.platform = oci::Platform::host();
  lowering.scope_prefix = inputs.context_path + "|" + inputs.file_name;
  lowering.epoch = epoch;
  lowering.now = epoch ? Timespec{*epoch, 0}
                       : Timespec{now / 1'000'000'000, static_cast<uint32_t>(now % 1'000'000'000)};
  return lowering;
}

// The store itself comes first: it lays itself out in an empty directory only, and refuses
// one that is not its own before anything is written there.
Result<void> make_stat_cache_folder(store::Store& store) {
  const std::string folder = store.path("statcache");
  if (::access(folder.c_str(), F_OK) == 0) return {};
  (void)TRY(store.new_ingest());
  return make_directories(folder, 0700);
}

}  // namespace

Result<BuildResult> build(store::Store& store, const BuildOptions& options, EventBus& events,
                          std::stop_token stop) {
  if (!options.iidfile.empty()) ::unlink(options.iidfile.c_str());
  std::vector<std::string> tags = TRY(canonical_tags(options.tags));
  std::optional<int64_t> epoch = TRY(source_date_epoch(options));
  Inputs inputs = TRY(read_inputs(options));
  const int64_t now = now_ns();

  // From here on nothing that the store holds is deleted under us.
  TRY(store.hold());
  Graph graph = TRY(lower(store, inputs.file, lower_options(options, inputs, epoch, now)));

  TRY(make_stat_cache_folder(store));
  std::unique_ptr<ContextTree> context =
      TRY(ContextTree::open(inputs.context_path, std::move(inputs.ignore), inputs.ignore_name,
                            store.path("statcache/" + sha256(inputs.context_path).hex())));
  BuildEnvironment env(store, *context);
  env.epoch = epoch;
  env.now_ns = now;
  env.no_cache = options.no_cache;
  env.architecture = oci::Platform::host().str();
  unsigned jobs = options.jobs ? options.jobs : std::max(1u, std::thread::hardware_concurrency());
  auto results = run_graph(env, graph, graph.result, jobs, events, stop);
  context->save_stat_cache();
  if (!results) return results.error();

  BuildResult result;
  result.image = TRY(store_image(store, assemble_config(graph, *results, epoch), tags, events));
  result.tags = std::move(tags);
  result.steps = reports_of(graph, *results);
  result.warnings = warnings_of(options, inputs.file, graph);
  if (!options.iidfile.empty()) TRY(replace_file(options.iidfile, result.image.str()));
  return result;
}

}  // namespace kasane::build
