// manifest.json of docker archives (reference 3.2). Pure; internal to src/transfer.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace kasane::transfer {

// Paths are names in the archive; layers from the lowest to the top.
struct DockerArchiveImage {
  std::string config;
  std::vector<std::string> layers;
  std::vector<std::string> tags;  // familiar
};
Result<std::vector<DockerArchiveImage>> parse_docker_archive(const std::string& text);
std::string write_docker_archive_manifest(const std::vector<DockerArchiveImage>& images);

}  // namespace kasane::transfer
