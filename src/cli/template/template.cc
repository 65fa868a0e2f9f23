#include "cli/template/template.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "cli/template/functions.h"
#include "cli/template/gofmt.h"
#include "cli/template/parser.h"

namespace kasane::cli::tmpl {
namespace {

constexpr int kMaxCalls = 1000;  // of {{template}}, nested
constexpr size_t kMaxOutputBytes = 64u << 20;

enum class Flow { kNext, kBreak, kContinue };

// text/template/exec.go's state machine; names follow it where that helps.
class Executor {
 public:
  Executor(const Trees& trees, const ExecuteOptions& options) : trees_(trees), options_(options) {}

  Result<std::string> run(const Value& data) {
    TRY(call_template("", data));
    return std::move(out_);
  }

 private:
  using Words = std::vector<NodePtr>;

  // ---- errors
  void at(const Node& node) { node_ = &node; }

  Error error(std::string_view message) const {
    if (!node_) return Error(ErrorKind::kInvalid, fmt::format("template: {}: {}", name_, message));
    std::string_view before = std::string_view(trees_.text).substr(0, node_->pos);
    size_t newline = before.rfind('\n');
    size_t column = newline == std::string_view::npos ? before.size() : before.size() - newline - 1;
    auto line = 1 + std::count(before.begin(), before.end(), '\n');
    return Error(ErrorKind::kInvalid,
                 fmt::format("template: :{}:{}: executing {} at <{}>: {}", line, column,
                             go_quote(name_), node_->str(), message));
  }

  // ---- variables
  Value* variable(std::string_view name) {
    for (auto it = variables_.rbegin(); it != variables_.rend(); ++it)
      if (it->first == name) return &it->second;
    return nullptr;
  }

  Result<void> assign(const std::string& name, const Value& value) {
    Value* target = variable(name);
    if (!target) return error(fmt::format("undefined variable: {}", name));
    *target = value;
    return {};
  }

  // ---- statements
  // Go looks the name up before it evaluates the argument.
  Result<void> require_template(const std::string& name) {
    if (trees_.roots.contains(name)) return {};
    return error(fmt::format("template {} not defined", go_quote(name)));
  }

  Result<void> call_template(const std::string& name, const Value& data) {
    TRY(require_template(name));
    auto found = trees_.roots.find(name);
    if (++calls_ > kMaxCalls)
      return error(fmt::format("exceeded maximum template depth ({})", kMaxCalls));
    auto outer = std::exchange(variables_, {{"$", data}});
    std::string outer_name = std::exchange(name_, name);
    TRY(walk(data, *found->second));
    name_ = std::move(outer_name);
    variables_ = std::move(outer);
    --calls_;
    return {};
  }

  Result<Flow> walk(const Value& dot, const Node& node) {
    at(node);
    switch (node.type) {
      case NodeType::kList:
        for (const NodePtr& child : node.children) {
          Flow flow = TRY(walk(dot, *child));
          if (flow != Flow::kNext) return flow;
        }
        return Flow::kNext;
      case NodeType::kText:
        TRY(print(node.text));
        return Flow::kNext;
      case NodeType::kAction: {
        Value value = TRY(pipeline(dot, *node.pipe));
        if (node.pipe->decls.empty()) TRY(print(printable(value)));
        return Flow::kNext;
      }
      case NodeType::kIf:
      case NodeType::kWith:
        return if_or_with(dot, node);
      case NodeType::kRange:
        return range(dot, node);
      case NodeType::kTemplate: {
        at(node);
        TRY(require_template(node.text));
        Value data;
        if (node.pipe) data = TRY(pipeline(dot, *node.pipe));
        at(node);
        TRY(call_template(node.text, data));
        return Flow::kNext;
      }
      case NodeType::kBreak:
        return Flow::kBreak;
      case NodeType::kContinue:
        return Flow::kContinue;
      default:
        return error("unknown node: " + node.str());
    }
  }

  static std::string printable(const Value& value) {
    if (!value.valid()) return "<no value>";
    if (value.kind() == Kind::kNil && value.boxed()) return "<no value>";
    // printValue follows a pointer before printing, so no '&' is shown.
    std::string text = format_v(value);
    if (value.kind() == Kind::kStruct && value.type().pointer) text.erase(0, 1);
    return text;
  }

  Result<void> print(std::string_view text) {
    if (out_.size() + text.size() > kMaxOutputBytes)
      return Error(ErrorKind::kLimit, "template: output is longer than 64 MiB");
    out_ += text;
    return {};
  }

  Result<Flow> if_or_with(const Value& dot, const Node& node) {
    const size_t mark = variables_.size();
    Value value = TRY(pipeline(dot, *node.pipe));
    Flow flow = Flow::kNext;
    if (value.unbox().truth())
      flow = TRY(walk(node.type == NodeType::kWith ? value : dot, *node.list));
    else if (node.else_list)
      flow = TRY(walk(dot, *node.else_list));
    variables_.resize(mark);
    return flow;
  }

  // One round; false when the loop ends.
  Result<bool> round(const Node& node, const Value& index, const Value& item) {
    const auto& decls = node.pipe->decls;
    const size_t mark = variables_.size();
    const bool two = decls.size() > 1;
    if (!decls.empty() && node.pipe->is_assign) {
      TRY(assign(decls[0]->idents[0], two ? index : item));
      if (two) TRY(assign(decls[1]->idents[0], item));
    } else if (!decls.empty()) {  // pipeline() pushed them
      variables_[mark - 1].second = item;
      if (two) variables_[mark - 2].second = index;
    }
    Flow flow = TRY(walk(item, *node.list));
    variables_.resize(mark);
    return flow != Flow::kBreak;
  }

  Result<Flow> range(const Value& dot, const Node& node) {
    const size_t outer = variables_.size();
    Value value = TRY(pipeline(dot, *node.pipe)).unbox();
    bool ran = false;
    switch (value.kind()) {
      case Kind::kList: {
        int64_t i = 0;
        for (const Value& item : value.items()) {
          ran = true;
          if (!TRY(round(node, Value::integer(i++), item))) break;
        }
        break;
      }
      case Kind::kMap:
        for (const auto& [key, item] : value.entries()) {
          ran = true;
          if (!TRY(round(node, Value::string(key), item))) break;
        }
        break;
      case Kind::kInt:
        if (node.pipe->decls.size() > 1)
          return error(
              fmt::format("can't use {} to iterate over more than one variable", format_v(value)));
        for (int64_t i = 0; i < value.as_int(); ++i) {
          ran = true;
          if (!TRY(round(node, Value::integer(i), Value::integer(i)))) break;
        }
        break;
      case Kind::kInvalid:
      case Kind::kNil:
        break;
      default:
        return error(fmt::format("range can't iterate over {}", format_v(value)));
    }
    Flow flow = Flow::kNext;
    if (!ran && node.else_list) flow = TRY(walk(dot, *node.else_list));
    variables_.resize(outer);
    return flow;
  }

  // ---- pipelines
  Result<Value> pipeline(const Value& dot, const Node& pipe) {
    at(pipe);
    std::optional<Value> value;
    for (const NodePtr& command : pipe.children)
      value = TRY(this->command(dot, *command, value ? &*value : nullptr)).unbox();
    for (const NodePtr& decl : pipe.decls) {
      if (pipe.is_assign)
        TRY(assign(decl->idents[0], *value));
      else
        variables_.emplace_back(decl->idents[0], *value);
    }
    return *value;
  }

  Result<Value> command(const Value& dot, const Node& command, const Value* final) {
    const Node& first = *command.children[0];
    switch (first.type) {
      case NodeType::kField:
        at(first);
        return field_chain(dot, dot, first, first.idents, command.children, final);
      case NodeType::kChain:
        return chain(dot, first, command.children, final);
      case NodeType::kIdentifier:
        return function(dot, first, command, command.children, final);
      case NodeType::kPipe:
        at(first);
        TRY(not_a_function(command.children, final));
        return pipeline(dot, first);
      case NodeType::kVariable:
        return variable_chain(dot, first, command.children, final);
      default:
        break;
    }
    at(first);
    TRY(not_a_function(command.children, final));
    switch (first.type) {
      case NodeType::kDot:
        return dot;
      case NodeType::kNil:
        return error("nil is not a command");
      case NodeType::kNumber:
        return constant(first);
      default:
        return first.constant;
    }
  }

  Result<Value> constant(const Node& node) {
    if (node.integer_overflow) return error(fmt::format("{} overflows int", node.text));
    return node.constant;
  }

  Result<void> not_a_function(const Words& words, const Value* final) {
    if (words.size() > 1 || final)
      return error(fmt::format("can't give argument to non-function {}", words[0]->str()));
    return {};
  }

  Result<Value> chain(const Value& dot, const Node& node, const Words& words, const Value* final) {
    at(node);
    Value receiver = TRY(argument(dot, Param::kReflect, *node.children[0]));
    return field_chain(dot, receiver, node, node.idents, words, final);
  }

  Result<Value> variable_chain(const Value& dot, const Node& node, const Words& words,
                               const Value* final) {
    at(node);
    Value* value = variable(node.idents[0]);
    if (!value) return error(fmt::format("undefined variable: {}", node.idents[0]));
    if (node.idents.size() == 1) {
      TRY(not_a_function(words, final));
      return *value;
    }
    return field_chain(dot, *value, node, std::span(node.idents).subspan(1), words, final);
  }

  Result<Value> field_chain(const Value&, Value receiver, const Node&,
                            std::span<const std::string> idents, const Words& words,
                            const Value* final) {
    for (size_t i = 0; i < idents.size(); ++i) {
      size_t arguments = 0;
      if (i + 1 == idents.size()) arguments = (words.empty() ? 0 : words.size() - 1) + (final ? 1 : 0);
      receiver = TRY(field(idents[i], receiver, arguments));
    }
    return receiver;
  }

  Result<Value> field(const std::string& name, const Value& receiver, size_t arguments) {
    if (!receiver.valid()) {
      if (options_.missing_key_is_error)
        return error(fmt::format("nil data; no entry for key {}", go_quote(name)));
      return Value();
    }
    const std::string_view type = receiver.type_name();
    switch (receiver.kind()) {
      case Kind::kNil:
        return error(fmt::format("nil pointer evaluating {}.{}", type, name));
      case Kind::kStruct:
        if (const Value* found = receiver.find_field(name)) {
          if (arguments > 0 && receiver.type().is_row)
            return error(fmt::format("wrong number of args for {}: want 0 got {}", name, arguments));
          if (arguments > 0)
            return error(fmt::format("{} has arguments but cannot be invoked as function", name));
          return *found;
        }
        break;
      case Kind::kMap: {
        if (arguments > 0) return error(fmt::format("{} is not a method but has arguments", name));
        auto found = receiver.entries().find(name);
        if (found != receiver.entries().end()) return found->second;
        if (options_.missing_key_is_error)
          return error(fmt::format("map has no entry for key {}", go_quote(name)));
        return Value();
      }
      default:
        break;
    }
    return error(fmt::format("can't evaluate field {} in type {}", name, type));
  }

  // ---- function calls
  static Param param_at(const Function& function, size_t i) {
    return i < function.fixed_count() ? function.fixed[i] : function.variadic;
  }

  Result<Value> function(const Value& dot, const Node& node, const Node& whole, const Words& words,
                         const Value* final) {
    at(node);
    const Function* function = find_function(node.text, options_.header, options_.buildx);
    if (!function) return error(fmt::format("{} is not a defined function", go_quote(node.text)));
    const size_t written = words.empty() ? 0 : words.size() - 1;
    const size_t given = written + (final ? 1 : 0);
    const size_t fixed = function->fixed_count();
    if (function->variadic != Param::kNone) {
      if (given < fixed)
        return error(fmt::format("wrong number of args for {}: want at least {} got {}", node.text,
                                 fixed, written));
    } else if (given != fixed) {
      return error(
          fmt::format("wrong number of args for {}: want {} got {}", node.text, fixed, given));
    }
    if (node.text == "and" || node.text == "or") return logic(dot, node, words, final);
    std::vector<Value> values;
    for (size_t i = 1; i < words.size(); ++i)
      values.push_back(TRY(argument(dot, param_at(*function, i - 1), *words[i])));
    if (final) values.push_back(TRY(check(*final, param_at(*function, values.size()))));
    if (node.text == "call" && values[0].unbox().valid()) {  // no value here is a function
      at(whole);
      return error(fmt::format("error calling call: non-function {} of type {}",
                               words.size() > 1 ? words[1]->str() : "",
                               values[0].unbox().type_name()));
    }
    auto result = function->call(values);
    if (!result) {
      at(whole);
      return error(fmt::format("error calling {}: {}", node.text, result.error().message()));
    }
    return *result;
  }

  Result<Value> logic(const Value& dot, const Node& node, const Words& words, const Value* final) {
    const bool stop_at = node.text == "or";
    Value value;
    for (size_t i = 1; i < words.size(); ++i) {
      value = TRY(argument(dot, Param::kReflect, *words[i]));
      if (value.unbox().truth() == stop_at) return value;
    }
    return final ? *final : value;
  }

  static std::string_view param_name(Param param) {
    switch (param) {
      case Param::kString:
        return "string";
      case Param::kInt:
        return "int";
      case Param::kStrings:
        return "[]string";
      case Param::kReflect:
        return "reflect.Value";
      default:
        return "interface {}";
    }
  }

  static bool fits(const Value& value, Param param) {
    switch (param) {
      case Param::kString:
        return &value.type() == &types::kString && value.kind() == Kind::kString;
      case Param::kInt:
        return &value.type() == &types::kInt && value.kind() == Kind::kInt;
      case Param::kStrings:
        return &value.type() == &types::kStrings && value.kind() == Kind::kList;
      default:
        return true;
    }
  }

  // validateType
  Result<Value> check(const Value& value, Param param) {
    if (!value.valid()) {
      if (param == Param::kAny) return Value::nil();
      if (param == Param::kReflect) return value;
      if (param == Param::kStrings) return Value::zero(types::kStrings);
      return error(fmt::format("invalid value; expected {}", param_name(param)));
    }
    if (param == Param::kAny || param == Param::kReflect) return value;
    Value plain = value.unbox();
    if (plain.valid() && fits(plain, param)) return plain;
    const std::string_view type = plain.valid() ? plain.type_name() : value.type_name();
    return error(fmt::format("wrong type for value; expected {}; got {}", param_name(param), type));
  }

  // evalArg
  Result<Value> argument(const Value& dot, Param param, const Node& node) {
    at(node);
    static const Words none;
    switch (node.type) {
      case NodeType::kDot:
        return check(dot, param);
      case NodeType::kNil:
        if (param == Param::kString || param == Param::kInt)
          return error(fmt::format("cannot assign nil to {}", param_name(param)));
        return check(Value(), param);
      case NodeType::kField:
        return check(TRY(field_chain(dot, dot, node, node.idents, none, nullptr)), param);
      case NodeType::kVariable:
        return check(TRY(variable_chain(dot, node, none, nullptr)), param);
      case NodeType::kPipe:
        return check(TRY(pipeline(dot, node)), param);
      case NodeType::kIdentifier:
        return check(TRY(function(dot, node, node, none, nullptr)), param);
      case NodeType::kChain:
        return check(TRY(chain(dot, node, none, nullptr)), param);
      default:
        return literal(param, node);
    }
  }

  Result<Value> literal(Param param, const Node& node) {
    switch (param) {
      case Param::kString:
        if (node.type != NodeType::kString)
          return error(fmt::format("expected string; found {}", node.str()));
        return node.constant;
      case Param::kInt:
        if (node.type != NodeType::kNumber || node.constant.kind() != Kind::kInt ||
            node.integer_overflow)
          return error(fmt::format("expected integer; found {}", node.str()));
        return node.constant;
      case Param::kStrings:
        return error(fmt::format("can't handle {} for arg of type []string", node.str()));
      default:
        return node.type == NodeType::kNumber ? constant(node) : Result<Value>(node.constant);
    }
  }

  const Trees& trees_;
  ExecuteOptions options_;
  std::string out_;
  std::string name_;
  const Node* node_ = nullptr;
  int calls_ = 0;
  std::vector<std::pair<std::string, Value>> variables_;
};

}  // namespace

Template::Template(std::unique_ptr<Trees> trees) : trees_(std::move(trees)) {}
Template::Template(Template&&) noexcept = default;
Template& Template::operator=(Template&&) noexcept = default;
Template::~Template() = default;

Result<Template> Template::parse(std::string_view text) {
  Trees trees =
      TRY(tmpl::parse(text, [](std::string_view name) { return find_function(name) != nullptr; }));
  return Template(std::make_unique<Trees>(std::move(trees)));
}

Result<std::string> Template::execute(const Value& dot, const ExecuteOptions& options) const {
  return Executor(*trees_, options).run(dot);
}

}  // namespace kasane::cli::tmpl
