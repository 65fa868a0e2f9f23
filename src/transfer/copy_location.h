// Where images are copied from and to: TRANSPORT:PLACE, named as skopeo names them. Pure.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "oci/reference.h"

namespace kasane::transfer {

enum class Transport {
  kRegistry,       // docker://REF, or a REF alone
  kLayout,         // oci:DIR[:NAME] or oci:DIR@DIGEST
  kOciArchive,     // oci-archive:FILE[:NAME]
  kDockerArchive,  // docker-archive:FILE[:REF]
  kStore,          // store:REF, the local store
};

// Value type.
struct Location {
  Transport transport = Transport::kRegistry;
  oci::Reference reference;  // kRegistry, kStore: as written, without a default tag
  std::string path;          // the others
  std::string name;          // behind the path; "" = none was given
  std::string digest;        // behind the path with '@'
  std::string text;          // as the user wrote it

  // kInvalid: names the transports there are. The first ':' behind the prefix ends the path, as
  // skopeo has it.
  static Result<Location> parse(std::string_view text);
  bool is_tar() const { return transport == Transport::kOciArchive || transport == Transport::kDockerArchive; }
  bool is_named() const;  // a tag, name or digest was given
};

}  // namespace kasane::transfer
