// Any bytes as a template of --format: parsed, and run on a value of every kind, twice as inspect
// does. Oracle: the output of both runs of one value is the same, and a template without an
// action comes out as it is.
#include <string>
#include <string_view>

#include "cli/template/template.h"
#include "cli/template/value.h"
#include "input.h"

using namespace kasane;
using namespace kasane::cli::tmpl;
using kasane::fuzz::require;

namespace {

constexpr GoType kObject{"*image.InspectResponse", Kind::kStruct, nullptr, true};
constexpr GoType kDuration{"time.Duration", Kind::kInt};

Value sample() {
  Map labels = {{"a.b", Value::string("x & <y>")}, {"team", Value::string("core")}};
  Map any = {{"Id", Value::string("sha256:0123").box()},
             {"N", Value::string("12", types::kNumber).box()},
             {"L", Value::list({Value::nil(), Value::string("x").box()}, types::kAnyList).box()}};
  return Value::object({{"ID", "Id", Value::string("sha256:0123456789ab")},
                        {"Tags", "Tags", Value::strings({"app:1", "app:latest"})},
                        {"None", "None", Value::zero(types::kStrings)},
                        {"Size", "Size", Value::integer(4262808, types::kInt64)},
                        {"Wait", "Wait", Value::integer(30000000000, kDuration)},
                        {"Ratio", "Ratio", Value::real(0.5)},
                        {"On", "On", Value::boolean(true)},
                        {"Nil", "Nil", Value::nil(kObject)},
                        {"Labels", "Labels", Value::map(std::move(labels), types::kStringMap)},
                        {"Any", "Any", Value::map(std::move(any), types::kAnyMap)}},
                       kObject);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  Result<Template> parsed = Template::parse(text);
  if (!parsed) return 0;
  static const Value kValue = sample();
  Result<std::string> first = parsed->execute(kValue);
  Result<std::string> second = parsed->execute(kValue);
  require(first.has_value() == second.has_value(), "same outcome");
  if (first) require(*first == *second, "same output");
  (void)parsed->execute(*kValue.find_field("Any"), {.missing_key_is_error = true});
  (void)parsed->execute(*kValue.find_field("Labels"), {.header = true});
  if (text.find("{{") == std::string_view::npos) require(first && *first == text, "plain text");
  return 0;
}
