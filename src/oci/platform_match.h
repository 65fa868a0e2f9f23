// Which image of an index serves a platform: containerd's order (reference 2.2). Pure.
#pragma once

#include <string_view>
#include <vector>

#include "oci/manifest.h"
#include "oci/platform.h"

namespace kasane::oci {

// The platform itself, then what it can run as well, best first: linux/arm/v7 → v7, v6, v5.
std::vector<Platform> platform_fallbacks(const Platform& platform);

// Platform::host() with the variant that the processor has (amd64: v2 to v4).
Platform host_with_variant();

// The best entry for the platform, the first of equals; nullptr. `strict`: no fallbacks.
// Attestations and entries of unknown types are never chosen; one without a platform fits
// anything, but is the last choice.
const Descriptor* choose_platform(const std::vector<Descriptor>& manifests, const Platform& platform,
                                  bool strict = false);

// An attestation of buildx: platform unknown/unknown.
bool is_attestation(const Descriptor& descriptor);

}  // namespace kasane::oci
