// Git checkouts as source trees, for ADD and for contexts.
#pragma once

#include <memory>
#include <stop_token>

#include "build/graph.h"
#include "build/secrets.h"
#include "build/ssh_agent.h"
#include "net/source_cache.h"
#include "store/store.h"

namespace kasane::build {

// The checkout lives as long as the tree. Credentials: AD12.
Result<std::shared_ptr<SourceTree>> checkout_tree(store::Store& store, net::SourceCache& downloads,
                                                  const GitOp& op, const SecretValues& secrets,
                                                  const SshAgents& ssh, std::stop_token stop);

}  // namespace kasane::build
