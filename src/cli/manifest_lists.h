// The manifest lists of `kasane manifest`, in docker's place and form: a folder per list below
// `manifests` of docker's configuration, a JSON file per member. Files of docker can be read and
// the other way round. Not thread-safe between processes, as docker's: the last writer of a member wins.
#pragma once

#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "cli/context.h"
#include "oci/json_build.h"
#include "oci/reference.h"
#include "registry/repository.h"

namespace kasane::cli {

struct ListMember {
  oci::Reference reference;
  oci::Json descriptor;  // with the platform
  std::string raw;       // the manifest's bytes
  bool is_oci() const;
  std::string digest() const { return oci::member_text(descriptor, "digest"); }
  // docker's types.ImageManifest: what is stored, and what inspect -v shows.
  oci::Json json() const;
};

class ManifestLists {
 public:
  explicit ManifestLists(const Context& context);  // DOCKER_CONFIG, else ~/.docker

  Result<bool> exists(const oci::Reference& list) const;
  // In the order of the files' names; empty when there is no such list.
  Result<std::vector<ListMember>> read(const oci::Reference& list) const;
  Result<std::optional<ListMember>> find(const oci::Reference& list, const oci::Reference& member) const;
  Result<void> save(const oci::Reference& list, const ListMember& member) const;
  Result<void> remove(const oci::Reference& list) const;

 private:
  std::string folder(const oci::Reference& list) const;
  std::string root_;
};

// From the registry. kInvalid: "X is a manifest list".
Result<ListMember> fetch_member(registry::Repository& repository, const oci::Reference& reference,
                                const std::stop_token& stop);
// Of a document that is at hand.
Result<ListMember> member_of(registry::Repository& repository, const oci::Reference& reference,
                             const registry::Document& document, const std::stop_token& stop);

// docker's list of the members: three spaces per level.
std::string docker_list(const std::vector<ListMember>& members);

// What manifest subcommands do with names: docker's errors, the default tag.
Result<oci::Reference> list_reference(const std::string& text);

}  // namespace kasane::cli
