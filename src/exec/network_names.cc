#include "exec/executor.h"

namespace kasane::exec {
namespace {

struct Name {
  Network network;
  std::string_view word;
};
constexpr Name kNames[] = {{Network::kHost, "host"},
                           {Network::kNone, "none"},
                           {Network::kPrivate, "private"},
                           {Network::kPasta, "pasta"},
                           {Network::kSlirp4netns, "slirp4netns"}};

}  // namespace

std::string_view network_name(Network network) {
  for (const Name& name : kNames)
    if (name.network == network) return name.word;
  return "host";
}

std::optional<Network> network_named(std::string_view word) {
  for (const Name& name : kNames)
    if (name.word == word) return name.network;
  return std::nullopt;
}

}  // namespace kasane::exec
