#include "lint/json_text.h"

namespace kasane::lint {
namespace {

using oci::Json;

void write(const Json& value, std::string& out, size_t depth) {
  const bool is_object = value.type == Json::Type::kObject;
  const size_t count = is_object ? value.members.size() : value.items.size();
  if ((!is_object && value.type != Json::Type::kArray) || count == 0) {
    value.write(out);
    return;
  }
  const std::string inner = "\n" + std::string(2 * (depth + 1), ' ');
  out += is_object ? '{' : '[';
  for (size_t i = 0; i < count; ++i) {
    if (i > 0) out += ',';
    out += inner;
    if (is_object) {
      oci::write_json_string(out, value.members[i].name);
      out += ": ";
    }
    write(is_object ? value.members[i].value : value.items[i], out, depth + 1);
  }
  out += "\n" + std::string(2 * depth, ' ');
  out += is_object ? '}' : ']';
}

}  // namespace

Json json_string(std::string text) {
  Json json;
  json.type = Json::Type::kString;
  json.text = std::move(text);
  return json;
}

Json json_number(int64_t number) {
  Json json;
  json.type = Json::Type::kNumber;
  json.text = std::to_string(number);
  return json;
}

Json json_true() {
  Json json;
  json.type = Json::Type::kBool;
  json.boolean = true;
  return json;
}

Json json_array(std::vector<Json> items) {
  Json json;
  json.type = Json::Type::kArray;
  json.items = std::move(items);
  return json;
}

Json json_object(std::vector<Json::Member> members) {
  Json json;
  json.type = Json::Type::kObject;
  json.members = std::move(members);
  return json;
}

void add_text(Json& object, std::string name, const std::string& text) {
  if (!text.empty()) object.members.push_back({std::move(name), json_string(text)});
}

Json json_location(const SourceSpan& span) {
  if (!span) return json_object();
  auto position = [](int line) { return json_object({{"line", json_number(line)}}); };
  Json range =
      json_object({{"start", position(span.first_line())}, {"end", position(span.last_line())}});
  return json_object({{"ranges", json_array({std::move(range)})}});
}

std::string indented(const Json& value) {
  std::string out;
  write(value, out, 0);
  return out + "\n";
}

}  // namespace kasane::lint
