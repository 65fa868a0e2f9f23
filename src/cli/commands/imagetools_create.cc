// kasane imagetools create (reference 1.14): an index of what is in registries already.
#include <algorithm>

#include "base/fd.h"
#include "cli/command.h"
#include "cli/registry_io.h"
#include "cli/signals.h"
#include "oci/image_config.h"
#include "transfer/copy.h"
#include "transfer/index_edit.h"

namespace kasane::cli {
namespace {

using transfer::IndexEdit;

struct Origin {
  oci::Reference reference;
  std::unique_ptr<transfer::ImageSource> source;
  registry::Document document;
  oci::Json given;  // a descriptor in place of a name: its members go into the entry
};

class Create {
 public:
  Create(Context& context, const Arguments& arguments, std::stop_token stop)
      : context_(context), arguments_(arguments), around_(surroundings_of(context)), stop_(std::move(stop)) {}

  Result<int> run() {
    for (const std::string& tag : arguments_.list("tag"))
      targets_.push_back(TRY(oci::Reference::parse(tag)).with_default_tag());
    if (targets_.empty() && !arguments_.on("dry-run"))
      return Error(ErrorKind::kInvalid, "can't push with no tags specified, please set --tag or --dry-run");
    TRY(read_origins());
    registry::Document made = TRY(combine());
    if (arguments_.on("dry-run")) {
      context_.out(made.bytes + "\n");
      return 0;
    }
    for (const oci::Reference& target : targets_) TRY_CONTEXT(push(made, target), target.canonical());
    return 0;
  }

 private:
  Result<void> read_origins() {
    std::vector<std::string> texts = arguments_.positional();
    for (const std::string& file : arguments_.list("file")) texts.push_back(TRY(read_file(file, 4u << 20)));
    if (arguments_.on("append")) {
      if (targets_.size() != 1)
        return Error(ErrorKind::kInvalid, "--append needs exactly one --tag: the index to append to");
      texts.insert(texts.begin(), targets_[0].canonical());
    }
    if (texts.empty()) return Error(ErrorKind::kInvalid, "no sources specified");
    for (std::string& text : texts) {
      while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
      origins_.push_back(TRY_CONTEXT(read_origin(text), text.substr(0, 200)));
    }
    return {};
  }

  // A name, a digest in the target's repository, or a descriptor as JSON.
  Result<Origin> read_origin(std::string text) {
    Origin out;
    if (text.starts_with('{')) {
      out.given = TRY(oci::Json::parse(text, "descriptor"));
      text = oci::member_text(out.given, "digest");
    }
    if (Sha256Digest::parse(text)) {
      if (targets_.empty())
        return Error(ErrorKind::kInvalid, "a digest alone needs a --tag: it is looked up in that repository");
      out.reference = targets_[0];
      out.reference.tag.clear();
      out.reference.digest = text;
    } else {
      out.reference = TRY(oci::Reference::parse(text)).with_default_tag();
    }
    transfer::Location location;
    location.reference = out.reference;
    out.source = TRY(transfer::open_source(location, {around_, nullptr, stop_}));
    out.document = TRY(out.source->top("", stop_));
    return out;
  }

  static Result<oci::Platform> platform_of_config(Origin& origin, const std::stop_token& stop) {
    const oci::Manifest manifest = TRY(oci::Manifest::parse(origin.document.bytes));
    const oci::ImageConfig config =
        TRY(oci::ImageConfig::parse(TRY(transfer::read_small_blob(*origin.source, manifest.config, stop))));
    return oci::Platform{config.os, config.architecture, config.variant, config.os_version};
  }

  Result<registry::Document> combine() {
    const std::vector<std::string> annotations = arguments_.list("annotation");
    if (origins_.size() == 1 && annotations.empty() &&
        (origins_[0].document.is_index || !arguments_.on("prefer-index")))
      return origins_[0].document;  // the very bytes
    IndexEdit index;
    for (Origin& origin : origins_) {
      if (origin.document.is_index) {
        for (oci::Json& entry : TRY(IndexEdit::of(origin.document, nullptr)).entries) index.add(std::move(entry));
        continue;
      }
      const oci::Platform platform = TRY(platform_of_config(origin, stop_));
      index.add(transfer::entry_for(origin.document, platform.architecture.empty() ? nullptr : &platform));
      if (origin.given.is_object()) index.add(origin.given);
    }
    for (const std::string& text : annotations) TRY(annotate(index, text));
    return registry::classify(index.serialize(2), "");
  }

  // [index:|manifest-descriptor[PLATFORM]:]KEY=VALUE
  static Result<void> annotate(IndexEdit& index, const std::string& text) {
    const size_t equals = text.find('=');
    if (equals == text.npos) return Error(ErrorKind::kInvalid, "invalid annotation \"" + text + "\", expected key=value");
    std::string key = text.substr(0, equals), place, platform;
    if (const size_t colon = key.find(':'); colon != key.npos) {
      place = key.substr(0, colon);
      key.erase(0, colon + 1);
    }
    if (const size_t open = place.find('['); open != place.npos && place.ends_with(']')) {
      platform = place.substr(open + 1, place.size() - open - 2);
      place.resize(open);
    }
    const std::string value = text.substr(equals + 1);
    if (place == "index") {
      index.annotations[key] = value;
      return {};
    }
    if (place != "manifest-descriptor")
      return Error(ErrorKind::kUnsupported, "\"" + place + "\" annotations are not supported yet")
          .hint("index:KEY=VALUE and manifest-descriptor:KEY=VALUE can be set without changing an image");
    std::optional<oci::Platform> wanted;
    if (!platform.empty()) wanted = TRY(oci::Platform::parse(platform));
    for (oci::Json& entry : index.entries) {
      if (wanted && transfer::platform_of(entry) != wanted) continue;
      oci::Json notes = oci::json_object({});
      if (const oci::Json* old = entry.find("annotations"); old && old->is_object()) notes = *old;
      oci::set_member(notes, key, oci::json_text(value));
      oci::set_member(entry, "annotations", std::move(notes));
    }
    return {};
  }

  Result<void> push(const registry::Document& made, const oci::Reference& target) {
    transfer::Location location;
    location.reference = target;
    const auto destination = TRY(transfer::open_destination(location, {around_, nullptr}));
    const transfer::CopyEvents quiet;
    transfer::CopyLog log(quiet);
    for (Origin& origin : origins_) {
      if (origin.reference.name() == target.name()) continue;  // it is there
      const transfer::CopyPlan plan = TRY(transfer::plan_copy(*origin.source, origin.document, stop_));
      TRY(destination->write(plan, *origin.source, log, stop_));
    }
    context_.err("pushing " + target.canonical() + "\n");
    const std::unique_ptr<registry::Pusher> pusher = TRY(registry::Pusher::open(around_, target));
    return pusher->put_manifest(target.tag, made.media_type, made.bytes, stop_);
  }

  Context& context_;
  const Arguments& arguments_;
  registry::Surroundings around_;
  std::stop_token stop_;
  std::vector<oci::Reference> targets_;
  std::vector<Origin> origins_;
};

Result<int> run_create(Context& context, const Arguments& arguments) {
  auto interrupts = TRY(InterruptWatcher::start());
  return Create(context, arguments, interrupts->token()).run();
}

constexpr FlagSpec kFlags[] = {
    {.name = "annotation",
     .kind = FlagKind::kList,
     .value_name = "stringArray",
     .help = "Add annotation to the image: index:KEY=VALUE or\nmanifest-descriptor[PLATFORM]:KEY=VALUE"},
    {.name = "append", .help = "Append to existing manifest"},
    {.name = "dry-run", .help = "Show final image instead of pushing"},
    {.name = "file",
     .shorthand = 'f',
     .kind = FlagKind::kList,
     .value_name = "stringArray",
     .help = "Read source descriptor from file"},
    {.name = "prefer-index",
     .help = "When only a single source is specified, prefer outputting an image\nindex instead of performing a carbon copy",
     .default_text = "true"},
    {.name = "progress",
     .kind = FlagKind::kString,
     .value_name = "string",
     .help = "Accepted; there is one line per name",
     .hidden = true},
    {.name = "tag", .shorthand = 't', .kind = FlagKind::kList, .value_name = "stringArray", .help = "Set reference for new image"},
};

}  // namespace

extern const Command kCommand_imagetools_create;
const Command kCommand_imagetools_create = {
    .path = "imagetools create",
    .aliases = {},
    .summary = "Create a new image based on source images",
    .usage = "[OPTIONS] [SOURCE...]",
    .help =
        "Puts the images of all sources into one index. Images of other repositories are copied (blobs are\n"
        "mounted or streamed) with their attestations. One index alone is copied byte for byte.\n\n"
        "Examples:\n"
        "  kasane imagetools create -t reg.example/app:1 reg.example/app:1-amd64 reg.example/app:1-arm64\n"
        "  kasane imagetools create --append -t reg.example/app:1 reg.example/app:1-s390x\n"
        "  kasane imagetools create --dry-run alpine debian",
    .flags = kFlags,
    .run = run_create,
};

}  // namespace kasane::cli
