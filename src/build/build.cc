#include "build/build.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <set>
#include <thread>

#include "build/deliver.h"
#include "build/inputs.h"
#include "build/lower/lower.h"
#include "build/scheduler.h"
#include "dockerfile/args.h"
#include "oci/reference.h"
#include "store/remote_layer.h"

namespace kasane::build {
namespace {

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

// A15: an integer, given as build argument (the command line forwards the variable), else the
// default of a global ARG.
Result<std::optional<int64_t>> source_date_epoch(const BuildOptions& options,
                                                 const dockerfile::Dockerfile& file) {
  constexpr const char* kName = "SOURCE_DATE_EPOCH";
  std::string text;
  for (const dockerfile::MetaArg& meta : file.meta_args)
    for (const dockerfile::ArgDefinition& arg : meta.arg.args)
      if (arg.key.text == kName && arg.value) text = arg.value->text;
  if (auto it = options.build_args.find(kName); it != options.build_args.end()) text = it->second;
  if (text.empty()) return std::optional<int64_t>();
  if (text.size() > 11 || text.find_first_not_of("0123456789") != std::string::npos)
    return Error(ErrorKind::kInvalid, "invalid SOURCE_DATE_EPOCH: " + text)
        .hint("give seconds since 1970, for example: SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)");
  return std::optional<int64_t>(std::stoll(text));
}

std::vector<StepReport> reports_of(const Graph& graph, const std::map<VertexId, VertexResult>& results) {
  std::vector<StepReport> reports;
  for (const auto& [id, result] : results) {
    StepReport report{graph.vertices[static_cast<size_t>(id)].name, result.cached, result.reason,
                      result.details};
    report.duration_ns = result.duration_ns;
    if (result.usage) report.max_rss_bytes = result.usage->max_rss_bytes;
    if (result.usage) report.cpu_ns = result.usage->user_ns + result.usage->system_ns;
    if (result.own && !result.cached) report.bytes_written = result.own->index().summary().content_size;
    reports.push_back(std::move(report));
  }
  return reports;
}

// A08.
std::vector<std::string> warnings_of(const BuildOptions& options, const dockerfile::Dockerfile& file) {
  std::vector<std::string> warnings;
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

store::BuildRecord record_of(const Graph& graph, const GraphRun& run, const BuildOptions& options,
                             const Inputs& inputs, const std::vector<std::string>& tags,
                             const Result<void>& ran, const BuildResult& result) {
  store::BuildRecord record;
  record.tags = tags;
  record.dockerfile = inputs.file_name;
  record.context = inputs.context_name;
  record.target = options.target;
  if (ran && !result.images.empty()) record.image = result.image.str();
  if (!ran) record.error = ran.error().full_message();
  for (size_t i = 0; i < graph.vertices.size(); ++i) {
    const VertexId id = static_cast<VertexId>(i);
    auto it = run.results.find(id);
    if (it == run.results.end() && id != run.failed) continue;
    store::StepRecord step;
    step.name = graph.vertices[i].name;
    step.scope = graph.vertices[i].scope;
    if (it == run.results.end()) {
      step.error = record.error;
      step.log = store::BuildRecordWriter::log_name(i);
    } else {
      const VertexResult& done = it->second;
      step.cached = done.cached;
      if (done.own) step.key_hex = done.key.hex();
      step.key_json = done.key_json;
      step.reason = done.reason;
      step.details = done.details;
      step.duration_ns = done.duration_ns;
      if (done.usage) {
        step.log = store::BuildRecordWriter::log_name(i);
        step.max_rss_bytes = done.usage->max_rss_bytes;
        step.cpu_ns = done.usage->user_ns + done.usage->system_ns;
      }
      if (done.own && !done.cached) step.bytes_written = done.own->index().summary().content_size;
    }
    record.steps.push_back(std::move(step));
  }
  return record;
}

int64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * 1'000'000'000ll + now.tv_nsec;
}

bool flag_arg(const BuildOptions& options, const std::string& name) {
  auto it = options.build_args.find(name);
  return it != options.build_args.end() && (it->second == "1" || it->second == "true");
}

LowerOptions lower_options(const BuildOptions& options, const Inputs& inputs, NamedContexts& contexts,
                           std::optional<int64_t> epoch, int64_t now) {
  LowerOptions lowering;
  lowering.target = options.target;
  lowering.first_base = options.first_base;
  lowering.build_args = options.build_args;
  lowering.labels = options.labels;
  lowering.unset_env = options.unset_env;
  lowering.unset_labels = options.unset_labels;
  lowering.network = options.network;
  lowering.allow_host_network =
      options.allow_host_network || options.network == exec::Network::kHost;
  lowering.allow_insecure = options.allow_insecure;
  lowering.no_cache = options.no_cache;
  lowering.no_cache_stages = options.no_cache_stages;
  lowering.platforms = options.platforms;
  lowering.platform_asked = !options.platforms.empty();
  if (options.platforms.empty()) lowering.platforms = {oci::Platform::host()};
  lowering.multi_platform =
      lowering.platforms.size() > 1 || flag_arg(options, "BUILDKIT_MULTI_PLATFORM");
  lowering.contexts = &contexts;
  lowering.scope_prefix = inputs.context_name + "|" + inputs.file_name;
  lowering.epoch = epoch;
  lowering.now = epoch ? Timespec{*epoch, 0}
                       : Timespec{now / 1'000'000'000, static_cast<uint32_t>(now % 1'000'000'000)};
  return lowering;
}

// S09: the stages that are built. What a build would stop at is left to the lowering.
Result<lint::CheckReport> check(store::Store& store, const BuildOptions& options, const Inputs& inputs) {
  lint::CheckInputs check;
  check.build_args = options.build_args;
  check.target = options.target;
  check.all_stages = false;
  if (!inputs.ignore.empty()) check.ignore = &inputs.ignore;
  if (!options.platforms.empty()) check.platform = options.platforms.front();
  check.base_config = [&](const std::string& name) -> std::optional<oci::ImageConfig> {
    Result<Sha256Digest> image = find_base_image(store, name, check.platform);
    if (!image) return std::nullopt;
    Result<std::string> json = store.image_config(*image);
    if (!json) return std::nullopt;
    Result<oci::ImageConfig> config = oci::ImageConfig::parse(*json);
    return config ? std::optional(std::move(*config)) : std::nullopt;
  };
  return lint::check_dockerfile(inputs.file, check);
}

RunSettings run_settings(const BuildOptions& options) {
  RunSettings run = options.run;
  auto argument = [&](const char* name, std::string& into) {  // A13
    auto it = options.build_args.find(name);
    if (it != options.build_args.end() && !it->second.empty()) into = it->second;
  };
  argument("BUILDKIT_SANDBOX_HOSTNAME", run.hostname);
  argument("BUILDKIT_CACHE_MOUNT_NS", run.cache_namespace);
  return run;
}

// The store itself comes first: it lays itself out in an empty directory only, and refuses
// one that is not its own before anything is written there.
Result<void> make_stat_cache_folder(store::Store& store) {
  const std::string folder = store.path("statcache");
  if (::access(folder.c_str(), F_OK) == 0) return {};
  (void)TRY(store.new_ingest());
  return make_directories(folder, 0700);
}

// Limits that were asked for and could not be applied, each once.
void warn_of_limits(const GraphRun& run, EventBus& events) {
  std::set<std::string> notes;
  for (const auto& [id, result] : run.results)
    if (result.usage && !result.usage->limit_note.empty()) notes.insert(result.usage->limit_note);
  for (const std::string& note : notes) events.warn(note);
}

// Folders get layers, not promises.
Result<void> bring_exported(const std::vector<CacheExport>& exports, const Graph& graph,
                            const std::map<VertexId, VertexResult>& results) {
  for (const CacheExport& target : exports) {
    if (target.kind != CacheExport::Kind::kLocal) continue;
    const std::set<VertexId> wanted = steps_of_targets(graph);
    std::vector<store::LayerPtr> layers;
    for (const auto& [id, result] : results)
      if (result.own && (target.all_steps || wanted.contains(id))) layers.push_back(result.own);
    TRY(store::bring_layers(layers));
  }
  return {};
}

Result<std::vector<std::unique_ptr<StepUploads>>> open_uploads(store::Store& store, const BuildOptions& options,
                                                               const std::vector<CacheExport>& exports,
                                                               CacheImports& imports, EventBus& events,
                                                               const std::stop_token& stop) {
  std::vector<std::unique_ptr<StepUploads>> out;
  for (const CacheExport& target : exports) {
    if (target.kind != CacheExport::Kind::kRegistry) continue;
    if (!options.registries) return Error(ErrorKind::kInternal, "no registries are configured for this build");
    out.push_back(TRY(StepUploads::open(store, *options.registries, target, imports, options.secrets, events, stop)));
  }
  return out;
}

}  // namespace

Result<BuildResult> build(store::Store& store, const BuildOptions& options, EventBus& events,
                          std::stop_token stop) {
  if (!options.iidfile.empty()) ::unlink(options.iidfile.c_str());
  std::vector<std::string> tags = TRY(canonical_tags(options.tags));
  std::vector<CacheExport> cache_exports;
  for (const std::string& target : options.cache_to) cache_exports.push_back(TRY(parse_cache_export(target)));
  if (flag_arg(options, "BUILDKIT_INLINE_CACHE")) cache_exports.push_back(TRY(parse_cache_export("inline")));
  BaseImages bases(store, options.registries, options.pull, events, stop);
  NamedContexts contexts(events);
  contexts.use(&bases);
  for (const std::string& context : options.build_contexts) TRY(contexts.add(context));
  const int64_t now = now_ns();

  // From here on nothing that the store holds is deleted under us.
  TRY(store.hold());
  net::SourceCache downloads(store.path("sources"));
  Inputs inputs = TRY(read_inputs(store, options, downloads, events, stop));
  std::optional<int64_t> epoch = TRY(source_date_epoch(options, inputs.file));
  lint::CheckReport report = TRY(check(store, options, inputs));
  if (std::optional<Error> violation = lint::lint_violation(report)) return std::move(*violation);
  LowerOptions lowering = lower_options(options, inputs, contexts, epoch, now);
  Graph graph = TRY(lower(store, inputs.file, lowering));

  TRY(make_stat_cache_folder(store));
  static const SshAgents kNoAgents;
  CacheImports imports(store, options.registries, events, stop);
  for (const std::string& source : options.cache_from) TRY(imports.add(source));
  std::unique_ptr<store::BuildRecordWriter> records = TRY(store::BuildRecordWriter::begin(store));
  BuildEnvironment env(store, *inputs.context, contexts, options.secrets,
                       options.ssh ? *options.ssh : kNoAgents, *records, imports);
  env.epoch = epoch;
  env.now_ns = now;
  env.run = run_settings(options);
  env.events = &events;
  env.cache_ttl_ns = options.cache_ttl_ns;
  env.retries = options.retries;
  unsigned jobs = options.jobs ? options.jobs : std::max(1u, std::thread::hardware_concurrency());
  std::vector<std::unique_ptr<StepUploads>> uploads =
      TRY(open_uploads(store, options, cache_exports, imports, events, stop));
  for (const std::unique_ptr<StepUploads>& target : uploads) target->use(graph);
  env.uploads = &uploads;
  GraphRun run;
  BuildResult result;
  Result<void> ran;
  for (;;) {
    ran = run_graph(env, graph, jobs, events, {stop, options.kill}, run);
    if (ran) ran = bring_exported(cache_exports, graph, run.results);
    if (ran) {
      Delivery delivery{store, options, graph, run.results, epoch, tags, lowering.multi_platform, now};
      delivery.uploads = &uploads;
      for (const CacheExport& target : cache_exports)
        delivery.inline_cache |= target.kind == CacheExport::Kind::kInline;
      ran = deliver(delivery, events, stop, result);
    }
    // A cache that broke its word costs time, not the build.
    if (ran || !imports.take_broken() || stop.stop_requested()) break;
    events.warn("the steps that relied on it are made again");
    run = GraphRun();
    result = BuildResult();
  }
  warn_of_limits(run, events);
  inputs.context->save_knowledge();
  for (const CacheExport& target : cache_exports)
    if (ran && target.kind == CacheExport::Kind::kLocal)
      ran = export_steps(store, target, graph, run.results, events);
  for (const std::unique_ptr<StepUploads>& target : uploads)
    if (Result<void> sent = target->finish(); !sent && ran) ran = std::move(sent);
  store::BuildRecord record = record_of(graph, run, options, inputs, tags, ran, result);
  record.started_ns = now;
  record.finished_ns = now_ns();
  if (Result<void> kept = records->finish(record); !kept)
    events.warn("the record of this build was not kept: " + kept.error().full_message());
  if (!ran) {
    // A layer that was refused because it holds a secret must not lie around until the next
    // sweep. While another process uses the store, it does until that one.
    if (ran.error().kind() == ErrorKind::kPermission && !options.secrets.needles().empty()) (void)store.sweep();
    return std::move(ran.error());
  }
  result.build_id = records->id();
  result.tags = std::move(tags);
  result.steps = reports_of(graph, run.results);
  result.warnings = warnings_of(options, inputs.file);
  result.findings = std::move(report.findings);
  return result;
}

}  // namespace kasane::build
