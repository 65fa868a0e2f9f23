#include "cli/json_output.h"

namespace kasane::cli {
namespace {

void write(std::string& out, const oci::Json& value, const std::string& step, const std::string& margin) {
  const bool list = value.is_array();
  const size_t count = list ? value.items.size() : value.members.size();
  if ((!list && !value.is_object()) || count == 0) return value.write(out);
  const std::string inner = margin + step;
  out += list ? '[' : '{';
  for (size_t i = 0; i < count; ++i) {
    out += i == 0 ? "\n" : ",\n";
    out += inner;
    if (!list) {
      oci::write_json_string(out, value.members[i].name);
      out += ": ";
    }
    write(out, list ? value.items[i] : value.members[i].value, step, inner);
  }
  out += "\n" + margin + (list ? "]" : "}");
}

}  // namespace

oci::Json json_text(std::string value) {
  oci::Json out;
  out.type = oci::Json::Type::kString;
  out.text = std::move(value);
  return out;
}

oci::Json json_bool(bool value) {
  oci::Json out;
  out.type = oci::Json::Type::kBool;
  out.boolean = value;
  return out;
}

oci::Json json_number(int64_t value) {
  oci::Json out;
  out.type = oci::Json::Type::kNumber;
  out.text = std::to_string(value);
  return out;
}

oci::Json json_list(std::vector<oci::Json> items) {
  oci::Json out;
  out.type = oci::Json::Type::kArray;
  out.items = std::move(items);
  return out;
}

oci::Json json_object(std::vector<oci::Json::Member> members) {
  oci::Json out;
  out.type = oci::Json::Type::kObject;
  out.members = std::move(members);
  return out;
}

std::string json_line(const oci::Json& value) {
  std::string out;
  value.write(out);
  return out + '\n';
}

std::string json_indented(const oci::Json& value, int indent) {
  std::string out;
  write(out, value, std::string(static_cast<size_t>(indent), ' '), "");
  return out;
}

}  // namespace kasane::cli
