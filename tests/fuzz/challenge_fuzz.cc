// Any bytes as WWW-Authenticate headers, one a line. Oracle: names are lower-case tokens, and a chosen
// challenge is one that can be answered.
#include <string>
#include <vector>

#include "input.h"
#include "registry/challenge.h"

using namespace kasane;
using kasane::fuzz::require;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::vector<std::string> headers(1);
  for (size_t i = 0; i < size; ++i)
    if (data[i] == '\n')
      headers.emplace_back();
    else
      headers.back() += static_cast<char>(data[i]);
  Result<std::vector<registry::Challenge>> parsed = registry::parse_challenges(headers);
  if (!parsed) return 0;
  for (const registry::Challenge& challenge : *parsed) {
    require(!challenge.scheme.empty(), "a scheme");
    for (char c : challenge.scheme) require(c < 'A' || c > 'Z', "lower case");
    for (const auto& [name, value] : challenge.parameters)
      require(!name.empty() && value.find('\n') == std::string::npos, "clean parameters");
  }
  if (const registry::Challenge* best = registry::choose_challenge(*parsed))
    require(best->scheme == "basic" || !best->parameter("realm").empty(), "can be answered");
  return 0;
}
