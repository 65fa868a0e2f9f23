// push --add-to-index.
#pragma once

#include <stop_token>

#include "cli/context.h"
#include "cli/registry_io.h"
#include "transfer/push.h"

namespace kasane::cli {

// Pushes the images of the local tag by digest and joins them to the tag's index in the registry.
Result<transfer::Pushed> push_to_index(Context& context, store::Store& store, registry::Pusher& pusher,
                                       const oci::Reference& reference, const transfer::PushOptions& options,
                                       LayerLines& lines, const std::stop_token& stop);

}  // namespace kasane::cli
