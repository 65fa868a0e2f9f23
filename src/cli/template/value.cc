#include "cli/template/value.h"

#include <algorithm>

namespace kasane::cli::tmpl {

Value Value::nil(const GoType& type) {
  Value value;
  value.kind_ = Kind::kNil;
  value.type_ = &type;
  value.boxed_ = &type == &types::kAny;
  return value;
}

Value Value::boolean(bool flag) {
  Value value;
  value.kind_ = Kind::kBool;
  value.type_ = &types::kBool;
  value.number_ = flag;
  return value;
}

Value Value::integer(int64_t number, const GoType& type) {
  Value value;
  value.kind_ = Kind::kInt;
  value.type_ = &type;
  value.number_ = number;
  return value;
}

Value Value::real(double number) {
  Value value;
  value.kind_ = Kind::kFloat;
  value.type_ = &types::kFloat;
  value.real_ = number;
  return value;
}

Value Value::string(std::string text, const GoType& type) {
  Value value;
  value.kind_ = Kind::kString;
  value.type_ = &type;
  value.text_ = std::make_shared<const std::string>(std::move(text));
  return value;
}

Value Value::stringer(std::string printed, std::string in_json, const GoType& type) {
  Value value = string(std::move(printed), type);
  value.json_text_ = std::make_shared<const std::string>(std::move(in_json));
  return value;
}

Value Value::list(List items, const GoType& type) {
  Value value;
  value.kind_ = Kind::kList;
  value.type_ = &type;
  value.list_ = std::make_shared<const List>(std::move(items));
  return value;
}

Value Value::map(Map entries, const GoType& type) {
  Value value;
  value.kind_ = Kind::kMap;
  value.type_ = &type;
  value.map_ = std::make_shared<const Map>(std::move(entries));
  return value;
}

Value Value::object(Struct fields, const GoType& type) {
  Value value;
  value.kind_ = Kind::kStruct;
  value.type_ = &type;
  value.struct_ = std::make_shared<const Struct>(std::move(fields));
  return value;
}

Value Value::strings(const std::vector<std::string>& items) {
  List values;
  for (const std::string& item : items) values.push_back(string(item));
  return list(std::move(values), types::kStrings);
}

Value Value::zero(const GoType& type) {
  if (type.pointer || type.kind == Kind::kNil) return nil(type);
  Value value;
  value.kind_ = type.kind;
  value.type_ = &type;
  return value;
}

Value Value::box() const {
  Value value = *this;
  value.boxed_ = true;
  return value;
}

Value Value::unbox() const {
  if (!boxed_) return *this;
  if (kind_ == Kind::kNil) return Value();
  Value value = *this;
  value.boxed_ = false;
  return value;
}

const std::string& Value::text() const {
  static const std::string empty;
  return text_ ? *text_ : empty;
}

const List& Value::items() const {
  static const List empty;
  return list_ ? *list_ : empty;
}

const Map& Value::entries() const {
  static const Map empty;
  return map_ ? *map_ : empty;
}

const Struct& Value::fields() const {
  static const Struct empty;
  return struct_ ? *struct_ : empty;
}

const Value* Value::find_field(std::string_view name) const {
  for (const Field& field : fields())
    if (field.name == name) return &field.value;
  return nullptr;
}

bool Value::truth() const {
  switch (kind_) {
    case Kind::kInvalid:
    case Kind::kNil:
      return false;
    case Kind::kBool:
    case Kind::kInt:
      return number_ != 0;
    case Kind::kFloat:
      return real_ != 0;
    case Kind::kString:
      return !text().empty();
    case Kind::kList:
      return !items().empty();
    case Kind::kMap:
      return !entries().empty();
    case Kind::kStruct:
      return true;
  }
  return false;
}

}  // namespace kasane::cli::tmpl
