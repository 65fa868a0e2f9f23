#include "build/deliver.h"

#include "build/assemble.h"
#include "build/provenance.h"
#include "build/step_cache.h"
#include "store/remote_layer.h"
#include "transfer/push.h"

namespace kasane::build {
namespace {

using transfer::BuiltPlatform;
using transfer::ExportOptions;
using transfer::ExportResult;

struct Deliverer {
  const Delivery& d;
  EventBus& events;
  std::stop_token stop;
  BuildResult& result;
  std::vector<BuiltPlatform> built;
  ExportResult last;  // for the metadata file

  Result<void> bring_layers(const std::vector<ExportOptions>& outputs);
  Result<void> assemble();
  std::string with_inline_cache(const std::string& members, const Target& target) const;
  Result<void> deliver(const ExportOptions& output);
  Result<ExportResult> store_images(const std::vector<BuiltPlatform>& images, const ExportOptions& output);
  Result<void> push(const std::vector<BuiltPlatform>& images, const ExportOptions& output, ExportResult& stored);
  Result<Sha256Digest> store_image(const BuiltPlatform& image, const std::vector<std::string>& tags);
  Result<void> finish();
};

// No layer above the base and no text of the image may hold the value of a secret.
Result<void> check_secrets(const SecretValues& secrets, const BuiltPlatform& built,
                           const std::vector<store::LayerPtr>& layers) {
  if (secrets.empty()) return {};
  TRY(refuse_leaks(secrets, built.config_json, "the configuration of the image"));
  size_t base = std::min(built.base_layers, layers.size());
  return refuse_leaks(secrets, {layers.begin() + static_cast<ptrdiff_t>(base), layers.end()});
}

// `members`: object text of further members of the configuration, or "".
std::string Deliverer::with_inline_cache(const std::string& members, const Target& target) const {
  std::vector<std::pair<size_t, Sha256Digest>> keys;
  for (VertexId id = target.result; id != kNoVertex; id = d.graph.vertices[static_cast<size_t>(id)].parent) {
    const VertexResult& step = d.results.at(id);
    if (step.own) keys.emplace_back(step.layers.size() - 1, step.key);
  }
  return with_inline_keys(members, keys);
}

// From here on nothing depends on a registry's word: every layer that goes into an output is here.
Result<void> Deliverer::bring_layers(const std::vector<ExportOptions>& outputs) {
  bool wanted = false;
  for (const ExportOptions& output : outputs) wanted |= output.kind != ExportOptions::Kind::kCacheOnly;
  for (const Target& target : d.graph.targets)
    if (wanted && target.result != kNoVertex) TRY(kasane::store::bring_layers(d.results.at(target.result).layers));
  return {};
}

Result<void> Deliverer::assemble() {
  for (const Target& target : d.graph.targets) {
    oci::ImageConfig config = assemble_config(target, d.results, d.epoch);
    if (d.inline_cache) config.unknown_json = with_inline_cache(config.unknown_json, target);
    BuiltPlatform image;
    image.platform = target.platform;
    image.diff_ids = config.diff_ids;
    image.base_layers = target.config.diff_ids.size();
    image.config_json = config.serialize();
    image.config_digest = sha256(image.config_json);
    std::vector<store::LayerPtr> layers;
    if (target.result != kNoVertex) layers = d.results.at(target.result).layers;
    TRY(check_secrets(d.options.secrets, image, layers));
    if (d.options.squash) image = TRY(transfer::squash_new_layers(d.store, std::move(image)));
    built.push_back(std::move(image));
  }
  return {};
}

// Writes nothing when the image and its tags are already there.
Result<Sha256Digest> Deliverer::store_image(const BuiltPlatform& image,
                                            const std::vector<std::string>& tags) {
  Sha256Digest id = image.config_digest;
  if (!d.store.image_row(id)) {
    store::ImageRecord record;
    record.config_json = image.config_json;
    record.diff_ids = image.diff_ids;
    record.tags = tags;
    id = TRY(d.store.put_image(record));
  }
  for (const std::string& tag : tags) {
    std::optional<Sha256Digest> current = TRY(d.store.find_tag(tag));
    if (!current || *current != id) TRY(d.store.tag(id, tag));
  }
  return id;
}

Result<ExportResult> Deliverer::store_images(const std::vector<BuiltPlatform>& images,
                                             const ExportOptions& output) {
  if (!output.annotations.empty() && !output.push)
    events.warn("images in the store have no manifest that could hold annotations; write them with -o type=oci");
  Span span(events, "exporting to image");
  auto work = [&]() -> Result<void> {
    std::vector<std::pair<std::string, Sha256Digest>> by_platform;
    for (const BuiltPlatform& image : images) {
      bool tagged = images.size() == 1;
      Sha256Digest id = TRY(store_image(image, tagged ? output.names : std::vector<std::string>()));
      by_platform.emplace_back(image.platform.str(), id);
      span.log("writing image " + id.str() + " done\n", 2);
    }
    for (const std::string& name : output.names) {
      if (images.size() > 1) TRY(d.store.tag_platforms(name, by_platform));
      span.log("naming to " + name + " done\n", 2);
    }
    return {};
  };
  Result<void> stored = work();
  stored ? span.done() : span.fail(stored.error());
  if (!stored) return std::move(stored.error());
  ExportResult result;
  result.names = output.names;
  result.digest = result.config_digest = images.front().config_digest.str();
  for (const BuiltPlatform& image : images)
    for (const transfer::Attestation& attestation : image.attestations)
      result.provenance.emplace_back(image.platform.str(), attestation.predicate_json);
  return result;
}

// What was stored goes on to the registries of its names.
Result<void> Deliverer::push(const std::vector<BuiltPlatform>& images, const ExportOptions& output,
                             ExportResult& stored) {
  if (output.names.empty())
    return Error(ErrorKind::kInvalid, "tag is needed when pushing to registry")
        .hint("name the image with -t REGISTRY/NAME:TAG");
  if (!d.options.registries) return Error(ErrorKind::kInternal, "no registries are configured for this build");
  for (const std::string& name : output.names) {
    Span span(events, "pushing " + name);
    const auto work = [&]() -> Result<transfer::Pushed> {
      const oci::Reference reference = TRY(oci::Reference::parse(name));
      std::unique_ptr<registry::Pusher> pusher =
          TRY(registry::Pusher::open(*d.options.registries, reference, output.insecure_registry));
      const transfer::LayerForm form{output.compression, output.level, output.force_compression};
      const transfer::ReadyBlob ready = [&](const Sha256Digest& diff_id) -> Result<std::optional<oci::Descriptor>> {
        if (!d.uploads) return std::optional<oci::Descriptor>();
        for (const std::unique_ptr<StepUploads>& target : *d.uploads)
          if (std::optional<oci::Descriptor> made = TRY(target->ready_blob(diff_id, form))) return made;
        return std::optional<oci::Descriptor>();
      };
      transfer::PushEvents told;
      told.status = [&](const std::string& id, const std::string& text) { span.log(id + ": " + text + "\n", 2); };
      return transfer::push_built(d.store, *pusher, reference, images, output, ready, told, stop);
    };
    Result<transfer::Pushed> pushed = work();
    if (!pushed) {
      span.fail(pushed.error());
      return std::move(pushed.error()).context("push " + name);
    }
    span.log("digest " + pushed->digest.str() + "\n", 2);
    span.done();
    stored.digest = pushed->digest.str();
    stored.descriptor_json = pushed->descriptor_json;
  }
  return {};
}

Result<void> Deliverer::deliver(const ExportOptions& given) {
  ExportOptions output = given;
  if (!d.tags.empty()) output.names = d.tags;
  output.epoch = d.epoch;
  output.multi_platform = d.multi_platform;
  output.annotations.insert(output.annotations.end(), d.options.annotations.begin(),
                            d.options.annotations.end());
  std::vector<BuiltPlatform> images = built;
  if (output.rewrite_timestamp && d.epoch)
    for (BuiltPlatform& image : images)
      image = TRY(transfer::rewrite_timestamps(d.store, std::move(image), *d.epoch));
  bool to_store = output.kind == ExportOptions::Kind::kImage ||
                  (output.kind == ExportOptions::Kind::kDocker && output.dest.empty());
  if (output.kind == ExportOptions::Kind::kCacheOnly) return {};
  TRY(add_provenance(d, images));
  ExportResult written = TRY(to_store ? store_images(images, output)
                                      : transfer::export_build(d.store, images, output, events, stop));
  if (output.push) TRY(push(images, output, written));
  // Files have no digest: those of an image stay the ones that are told.
  if (written.digest.empty()) {
    if (last.provenance.empty()) last.provenance = std::move(written.provenance);
  } else {
    last = std::move(written);
  }
  return {};
}

// L18, L19.
Result<void> Deliverer::finish() {
  for (const BuiltPlatform& image : built) result.images.push_back({image.platform, image.config_digest});
  result.image = result.images.front().id;
  result.digest = last.config_digest.empty() ? last.digest : last.config_digest;
  if (!d.options.metadata_file.empty())
    TRY(replace_file(d.options.metadata_file, transfer::metadata_json(last)));
  if (!d.options.iidfile.empty())
    TRY(replace_file(d.options.iidfile, result.digest.empty() ? result.image.str() : result.digest));
  return {};
}

}  // namespace

Result<void> deliver(const Delivery& delivery, EventBus& events, std::stop_token stop,
                     BuildResult& result) {
  Deliverer deliverer{delivery, events, std::move(stop), result, {}, {}};
  std::vector<ExportOptions> outputs = delivery.options.outputs;
  if (outputs.empty()) outputs.push_back(TRY(transfer::parse_output("type=image")));
  TRY(deliverer.bring_layers(outputs));
  TRY(deliverer.assemble());
  for (const ExportOptions& output : outputs) TRY(deliverer.deliver(output));
  return deliverer.finish();
}

}  // namespace kasane::build
