#include "registry/toml.h"

#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>

namespace kasane::registry {
namespace {

oci::Json convert(const toml::node& node);

oci::Json convert_table(const toml::table& table) {
  struct Placed {
    toml::source_position where;
    oci::Json::Member member;
  };
  std::vector<Placed> placed;
  for (const auto& [key, value] : table)
    placed.push_back({key.source().begin, {std::string(key.str()), convert(value)}});
  std::stable_sort(placed.begin(), placed.end(),
                   [](const Placed& a, const Placed& b) { return a.where < b.where; });
  oci::Json out;
  out.type = oci::Json::Type::kObject;
  for (Placed& one : placed) out.members.push_back(std::move(one.member));
  return out;
}

oci::Json convert(const toml::node& node) {
  oci::Json out;
  if (const toml::table* table = node.as_table()) return convert_table(*table);
  if (const toml::array* array = node.as_array()) {
    out.type = oci::Json::Type::kArray;
    for (const toml::node& item : *array) out.items.push_back(convert(item));
  } else if (const auto* text = node.as_string()) {
    out.type = oci::Json::Type::kString;
    out.text = text->get();
  } else if (const auto* flag = node.as_boolean()) {
    out.type = oci::Json::Type::kBool;
    out.boolean = flag->get();
  } else if (const auto* integer = node.as_integer()) {
    out.type = oci::Json::Type::kNumber;
    out.text = std::to_string(integer->get());
  } else if (const auto* real = node.as_floating_point()) {
    out.type = oci::Json::Type::kNumber;
    out.text = fmt::format("{}", real->get());
  }
  return out;  // dates have no use in these files: null
}

}  // namespace

Result<oci::Json> parse_toml(std::string_view text, const std::string& path) {
  toml::parse_result parsed = toml::parse(text, path);
  if (!parsed) {
    const toml::parse_error& error = parsed.error();
    return Error(ErrorKind::kInvalid, fmt::format("{}:{}:{}: {}", path, error.source().begin.line,
                                                  error.source().begin.column,
                                                  std::string(error.description())));
  }
  return convert_table(parsed.table());
}

}  // namespace kasane::registry
