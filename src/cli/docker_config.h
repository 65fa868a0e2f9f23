// What docker's config.json says about output and pruning (reference 1.0, 1.1, 1.8).
#pragma once

#include <string>
#include <vector>

#include "cli/context.h"

namespace kasane::cli {

struct DockerConfig {
  std::string images_format;               // "" = none
  std::vector<std::string> prune_filters;  // "label=x", "until=24h"
};

// The file of --config, $DOCKER_CONFIG or ~/.docker; an absent one is empty. One that cannot be
// read is told of on stderr and taken as empty, as docker does: it must not stop a listing.
DockerConfig docker_config(Context& context);

// `given` and the configured filters; a configured label filter that says the opposite of a given
// one is left out.
std::vector<std::string> with_prune_filters(std::vector<std::string> given,
                                            const DockerConfig& config);

}  // namespace kasane::cli
