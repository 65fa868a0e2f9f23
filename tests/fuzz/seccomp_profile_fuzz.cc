// Any bytes as a seccomp profile. Oracle: what is accepted can be written for an OCI runtime as JSON, and what
// libseccomp then makes of it is a program that the kernel could take.
#include <linux/filter.h>

#include <string>
#include <string_view>

#include "exec/seccomp/filters.h"
#include "exec/seccomp/oci_form.h"
#include "exec/seccomp/profile.h"
#include "input.h"
#include "oci/json.h"

using namespace kasane;
using kasane::fuzz::require;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  exec::SeccompChoice choice;
  choice.kind = exec::SeccompChoice::Kind::kFile;
  choice.document.assign(reinterpret_cast<const char*>(data), size);
  Result<exec::SeccompProfile> profile = exec::SeccompProfile::parse(choice.document);
  if (!profile) return 0;
  require(!profile->architectures.empty(), "this host's architecture");
  Result<std::string> text = exec::oci_seccomp(choice);
  require(bool(text) && bool(oci::Json::parse(*text, "seccomp")), "JSON");
  Result<std::vector<sock_filter>> code = exec::compile_profile(*profile);
  if (code) require(!code->empty() && code->size() <= BPF_MAXINSNS, "a program");
  return 0;
}
