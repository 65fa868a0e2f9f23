#include "oci/json_build.h"

namespace kasane::oci {
namespace {

void write(std::string& out, const Json& value, std::string_view step, const std::string& margin) {
  const bool list = value.is_array();
  const size_t count = list ? value.items.size() : value.members.size();
  if ((!list && !value.is_object()) || count == 0) return value.write(out);
  const std::string inner = margin + std::string(step);
  out += list ? '[' : '{';
  for (size_t i = 0; i < count; ++i) {
    out += i == 0 ? "\n" : ",\n";
    out += inner;
    if (!list) {
      write_json_string(out, value.members[i].name);
      out += ": ";
    }
    write(out, list ? value.items[i] : value.members[i].value, step, inner);
  }
  out += "\n" + margin + (list ? "]" : "}");
}

}  // namespace

Json json_text(std::string value) {
  Json out;
  out.type = Json::Type::kString;
  out.text = std::move(value);
  return out;
}

Json json_bool(bool value) {
  Json out;
  out.type = Json::Type::kBool;
  out.boolean = value;
  return out;
}

Json json_number(int64_t value) {
  Json out;
  out.type = Json::Type::kNumber;
  out.text = std::to_string(value);
  return out;
}

Json json_list(std::vector<Json> items) {
  Json out;
  out.type = Json::Type::kArray;
  out.items = std::move(items);
  return out;
}

Json json_object(std::vector<Json::Member> members) {
  Json out;
  out.type = Json::Type::kObject;
  out.members = std::move(members);
  return out;
}

void set_member(Json& object, std::string_view name, Json value) {
  for (Json::Member& member : object.members)
    if (member.name == name) {
      member.value = std::move(value);
      return;
    }
  object.members.push_back({std::string(name), std::move(value)});
}

std::string member_text(const Json& object, std::string_view name) {
  const Json* value = object.find(name);
  return value && value->is_string() ? value->text : std::string();
}

std::string indented(const Json& value, std::string_view step) {
  std::string out;
  write(out, value, step, "");
  return out;
}

}  // namespace kasane::oci
