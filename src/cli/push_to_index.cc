#include "cli/push_to_index.h"

#include "oci/image_config.h"
#include "transfer/add_to_index.h"
#include "transfer/copy.h"

namespace kasane::cli {

Result<transfer::Pushed> push_to_index(Context& context, store::Store& store, registry::Pusher& pusher,
                                       const oci::Reference& reference, const transfer::PushOptions& options,
                                       LayerLines& lines, const std::stop_token& stop) {
  const registry::Surroundings around = surroundings_of(context);
  transfer::Location here, there;
  here.transport = transfer::Transport::kStore;
  here.reference = there.reference = reference;
  const auto source = TRY(transfer::open_source(here, {around, &store, stop}));
  registry::Document top = TRY(source->top("", stop));
  if (options.platform) top = TRY(transfer::choose_image(*source, std::move(top), *options.platform, stop));
  const auto destination = TRY(transfer::open_destination(there, {around, &store}));
  transfer::CopyEvents events;
  events.status = [&](const std::string& id, const std::string& text) { lines.status(id, text); };
  transfer::CopyLog log(events);
  const transfer::CopyPlan plan = TRY(transfer::plan_copy(*source, top, stop));
  TRY(destination->write(plan, *source, log, stop));
  const std::unique_ptr<registry::Repository> repository =
      TRY(registry::Repository::open_to_change(around, reference));
  std::vector<oci::Json> entries;
  if (top.is_index) {
    entries = TRY(transfer::IndexEdit::of(top, nullptr)).entries;
  } else {
    const oci::Manifest manifest = TRY(oci::Manifest::parse(top.bytes));
    const oci::ImageConfig config =
        TRY(oci::ImageConfig::parse(TRY(transfer::read_small_blob(*source, manifest.config, stop))));
    const oci::Platform platform =
        oci::Platform{config.os, config.architecture, config.variant, config.os_version}.normalized();
    entries.push_back(transfer::entry_for(top, &platform));
  }
  const registry::Document& probe = plan.documents.front().document;
  return transfer::add_to_index(*repository, pusher, reference.tag, entries, probe, stop);
}

}  // namespace kasane::cli
