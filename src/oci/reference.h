// Image references: reference grammar and docker's normalisation and familiar form
// (distribution/reference; reference table 1.16).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/hash.h"
#include "base/result.h"

namespace kasane::oci {

struct Reference {
  std::string domain;      // "docker.io"
  std::string repository;  // "library/alpine"
  std::string tag;         // "" when none was given
  std::string digest;      // "sha256:..." or ""

  // "alpine" → docker.io/library/alpine, tag "". Messages are docker's.
  static Result<Reference> parse(std::string_view text);
  Reference with_default_tag() const;  // tag "latest" when neither tag nor digest
  std::string name() const { return domain + "/" + repository; }
  std::string canonical() const;       // name[:tag][@digest]
  std::string familiar() const;        // "alpine:3"
  std::string familiar_name() const;   // "alpine"
};

// Familiar form of a canonical reference as stored; never fails on stored text.
std::string familiar(std::string_view canonical);

// True for 64 lower-case hex digits or sha256:...; such text can only be an image id.
bool looks_like_id(std::string_view text);

// The grammar of a repository path without domain ("library/alpine", up to 255 bytes), and of a tag.
bool is_repository_name(std::string_view text);
bool is_tag_name(std::string_view text);

}  // namespace kasane::oci
