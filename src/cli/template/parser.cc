#include "cli/template/parser.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/template/gofmt.h"
#include "cli/template/lexer.h"
#include "cli/template/literal.h"

namespace kasane::cli::tmpl {
namespace {

constexpr int kMaxDepth = 200;
constexpr size_t kMaxTemplateBytes = 1u << 20;

class Parser {
 public:
  Parser(std::string_view text, const std::function<bool(std::string_view)>& has_function)
      : has_function_(has_function), tokens_(lex(text)) {
    trees_.text = text;
  }

  Result<Trees> run() {
    NodePtr root = make(NodeType::kList, 0);
    while (peek().type != TokenType::kEof) {
      if (peek().type == TokenType::kLeftDelim) {
        size_t mark = next_;
        next();
        if (next_non_space().type == TokenType::kDefine) {
          TRY(definition());
          continue;
        }
        next_ = mark;
      }
      NodePtr node = TRY(text_or_action());
      if (node->type == NodeType::kEnd || node->type == NodeType::kElse)
        return error("unexpected " + node->str());
      root->children.push_back(std::move(node));
    }
    TRY(add("", std::move(root)));
    return std::move(trees_);
  }

 private:
  // ---- tokens
  const Token& peek() const { return tokens_[next_]; }
  const Token& next() {
    const Token& token = tokens_[next_];
    if (next_ + 1 < tokens_.size()) ++next_;  // EOF and errors repeat
    return token;
  }
  const Token& peek_non_space() {
    while (peek().type == TokenType::kSpace) next();
    return peek();
  }
  const Token& next_non_space() {
    peek_non_space();
    return next();
  }

  Error error(std::string message) const {
    return Error(
        ErrorKind::kInvalid,
        fmt::format("template: :{}: {}", tokens_[next_ > 0 ? next_ - 1 : 0].line, message));
  }

  Error unexpected(const Token& token, std::string_view context) const {
    if (token.type != TokenType::kError)
      return error(fmt::format("unexpected {} in {}", token.str(), context));
    std::string extra;
    if (action_line_ != 0 && action_line_ != token.line) {
      extra = fmt::format(" in action started at :{}", action_line_);
      if (token.text.ends_with(" action"))
        extra = extra.substr(std::string_view(" in action").size());
    }
    return Error(ErrorKind::kInvalid,
                 fmt::format("template: :{}: {}{}", token.line, token.text, extra));
  }

  static NodePtr make(NodeType type, size_t pos) {
    auto node = std::make_unique<Node>();
    node->type = type;
    node->pos = pos;
    return node;
  }

  Result<Token> expect(TokenType type, std::string_view context) {
    const Token& token = next_non_space();
    if (token.type != type) return unexpected(token, context);
    return token;
  }

  // ---- structure
  Result<void> add(const std::string& name, NodePtr root) {
    bool blank = std::all_of(root->children.begin(), root->children.end(), [](const NodePtr& n) {
      return n->type == NodeType::kText &&
             n->text.find_first_not_of(" \t\r\n") == std::string::npos;
    });
    auto [it, fresh] = trees_.roots.try_emplace(name, nullptr);
    if (!fresh && blank) return {};
    if (!fresh && !it->second->children.empty())
      return error(fmt::format("template: multiple definition of template {}", go_quote(name)));
    it->second = std::move(root);
    return {};
  }

  Result<std::string> template_name(std::string_view context) {
    const Token& token = next_non_space();
    if (token.type != TokenType::kString && token.type != TokenType::kRawString)
      return unexpected(token, context);
    auto name = unquote(token.text);
    if (!name) return error("invalid syntax");
    return *name;
  }

  Result<void> definition() {
    std::string name = TRY(template_name("define clause"));
    TRY(expect(TokenType::kRightDelim, "define clause"));
    std::vector<std::string> outer = std::exchange(variables_, {"$"});
    NodePtr end;
    NodePtr list = TRY(item_list(end));
    variables_ = std::move(outer);
    if (end->type != NodeType::kEnd)
      return error(fmt::format("unexpected {} in define clause", end->str()));
    return add(name, std::move(list));
  }

  Result<NodePtr> item_list(NodePtr& end) {
    NodePtr list = make(NodeType::kList, peek_non_space().pos);
    while (peek_non_space().type != TokenType::kEof) {
      NodePtr node = TRY(text_or_action());
      if (node->type == NodeType::kEnd || node->type == NodeType::kElse) {
        end = std::move(node);
        return list;
      }
      list->children.push_back(std::move(node));
    }
    return error("unexpected EOF");
  }

  Result<NodePtr> text_or_action() {
    const Token& token = next_non_space();
    if (token.type == TokenType::kText) {
      NodePtr node = make(NodeType::kText, token.pos);
      node->text = token.text;
      return node;
    }
    if (token.type != TokenType::kLeftDelim) return unexpected(token, "input");
    action_line_ = token.line;
    auto node = action();
    action_line_ = 0;
    return node;
  }

  Result<NodePtr> action() {
    size_t mark = next_;
    const Token& token = next_non_space();
    switch (token.type) {
      case TokenType::kBlock:
        return block_control();
      case TokenType::kBreak:
        return loop_control(token, NodeType::kBreak, "{{break}}");
      case TokenType::kContinue:
        return loop_control(token, NodeType::kContinue, "{{continue}}");
      case TokenType::kElse:
        return else_control();
      case TokenType::kEnd:
        return make(NodeType::kEnd, TRY(expect(TokenType::kRightDelim, "end")).pos);
      case TokenType::kIf:
        return control(token.pos, NodeType::kIf, "if");
      case TokenType::kRange:
        return control(token.pos, NodeType::kRange, "range");
      case TokenType::kWith:
        return control(token.pos, NodeType::kWith, "with");
      case TokenType::kTemplate:
        return template_control();
      default:
        break;
    }
    next_ = mark;
    NodePtr node = make(NodeType::kAction, peek_non_space().pos);
    node->pipe = TRY(pipeline("command", TokenType::kRightDelim));
    return node;
  }

  Result<NodePtr> loop_control(const Token& token, NodeType type, std::string_view text) {
    const Token& end = next_non_space();
    if (end.type != TokenType::kRightDelim) return unexpected(end, text);
    if (range_depth_ == 0) return error(fmt::format("{} outside {{{{range}}}}", text));
    return make(type, token.pos);
  }

  Result<NodePtr> else_control() {
    const Token& after = peek_non_space();
    if (after.type == TokenType::kIf || after.type == TokenType::kWith)
      return make(NodeType::kElse, after.pos);
    return make(NodeType::kElse, TRY(expect(TokenType::kRightDelim, "else")).pos);
  }

  Result<NodePtr> control(size_t pos, NodeType type, std::string_view context) {
    if (++depth_ > kMaxDepth) return error("template is nested too deeply");
    const size_t variables = variables_.size();
    NodePtr node = make(type, pos);
    node->pipe = TRY(pipeline(context, TokenType::kRightDelim));
    if (type == NodeType::kRange) ++range_depth_;
    NodePtr end;
    node->list = TRY(item_list(end));
    if (type == NodeType::kRange) --range_depth_;
    if (end->type == NodeType::kElse) {
      TokenType chained = type == NodeType::kIf ? TokenType::kIf : TokenType::kWith;
      if (type != NodeType::kRange && peek().type == chained) {
        size_t inner = next().pos;
        node->else_list = make(NodeType::kList, end->pos);
        node->else_list->children.push_back(TRY(control(inner, type, context)));
      } else {
        node->else_list = TRY(item_list(end));
        if (end->type != NodeType::kEnd) return error("expected end; found " + end->str());
      }
    }
    variables_.resize(variables);
    --depth_;
    return node;
  }

  Result<NodePtr> template_control() {
    NodePtr node = make(NodeType::kTemplate, peek_non_space().pos);
    node->text = TRY(template_name("template clause"));
    if (peek_non_space().type == TokenType::kRightDelim)
      next();
    else
      node->pipe = TRY(pipeline("template clause", TokenType::kRightDelim));
    return node;
  }

  Result<NodePtr> block_control() {
    NodePtr node = make(NodeType::kTemplate, peek_non_space().pos);
    node->text = TRY(template_name("block clause"));
    node->pipe = TRY(pipeline("block clause", TokenType::kRightDelim));
    if (++depth_ > kMaxDepth) return error("template is nested too deeply");
    std::vector<std::string> outer = std::exchange(variables_, {"$"});
    NodePtr end;
    NodePtr list = TRY(item_list(end));
    variables_ = std::move(outer);
    --depth_;
    if (end->type != NodeType::kEnd)
      return error(fmt::format("unexpected {} in block clause", end->str()));
    TRY(add(node->text, std::move(list)));
    return node;
  }

  // ---- pipelines
  Result<void> declarations(Node& pipe, std::string_view context) {
    while (peek_non_space().type == TokenType::kVariable) {
      size_t mark = next_;
      const Token& variable = next();
      const Token& after = peek_non_space();
      const bool comma = after.type == TokenType::kChar && after.text == ",";
      if (after.type != TokenType::kAssign && after.type != TokenType::kDeclare && !comma) {
        next_ = mark;
        return {};
      }
      next();
      NodePtr decl = make(NodeType::kVariable, variable.pos);
      decl->idents = {variable.text};
      pipe.decls.push_back(std::move(decl));
      variables_.push_back(variable.text);
      if (!comma) {
        pipe.is_assign = after.type == TokenType::kAssign;
        return {};
      }
      if (context != "range" || pipe.decls.size() >= 2)
        return error(fmt::format("too many declarations in {}", context));
      TokenType then = peek_non_space().type;
      if (then != TokenType::kVariable && then != TokenType::kRightDelim &&
          then != TokenType::kRightParen)
        return error("range can only initialize variables");
    }
    return {};
  }

  static bool is_operand(TokenType type) {
    switch (type) {
      case TokenType::kBool:
      case TokenType::kCharConstant:
      case TokenType::kDot:
      case TokenType::kField:
      case TokenType::kIdentifier:
      case TokenType::kNumber:
      case TokenType::kNil:
      case TokenType::kRawString:
      case TokenType::kString:
      case TokenType::kVariable:
      case TokenType::kLeftParen:
        return true;
      default:
        return false;
    }
  }

  Result<NodePtr> pipeline(std::string_view context, TokenType end) {
    if (++depth_ > kMaxDepth) return error("template is nested too deeply");
    NodePtr pipe = make(NodeType::kPipe, peek_non_space().pos);
    TRY(declarations(*pipe, context));
    while (true) {
      size_t mark = next_;
      const Token& token = next_non_space();
      if (token.type == end) break;
      if (!is_operand(token.type)) return unexpected(token, context);
      next_ = mark;
      pipe->children.push_back(TRY(command()));
    }
    if (pipe->children.empty()) return error(fmt::format("missing value for {}", context));
    for (size_t i = 1; i < pipe->children.size(); ++i) {
      switch (pipe->children[i]->children[0]->type) {
        case NodeType::kBool:
        case NodeType::kDot:
        case NodeType::kNil:
        case NodeType::kNumber:
        case NodeType::kString:
          return error(fmt::format("non executable command in pipeline stage {}", i + 1));
        default:
          break;
      }
    }
    --depth_;
    return pipe;
  }

  Result<NodePtr> command() {
    NodePtr node = make(NodeType::kCommand, peek_non_space().pos);
    while (true) {
      peek_non_space();
      NodePtr word = TRY(operand());
      if (word) node->children.push_back(std::move(word));
      size_t mark = next_;
      const Token& token = next();
      if (token.type == TokenType::kSpace) continue;
      if (token.type == TokenType::kRightDelim || token.type == TokenType::kRightParen)
        next_ = mark;
      else if (token.type != TokenType::kPipe)
        return unexpected(token, "operand");
      break;
    }
    if (node->children.empty()) return error("empty command");
    return node;
  }

  Result<NodePtr> operand() {
    NodePtr node = TRY(term());
    if (!node || peek().type != TokenType::kField) return node;
    const size_t pos = peek().pos;
    std::vector<std::string> fields;
    while (peek().type == TokenType::kField) fields.push_back(next().text.substr(1));
    switch (node->type) {
      case NodeType::kField:
      case NodeType::kVariable:
        node->pos = pos;
        node->idents.insert(node->idents.end(), fields.begin(), fields.end());
        return node;
      case NodeType::kBool:
      case NodeType::kString:
      case NodeType::kNumber:
      case NodeType::kNil:
      case NodeType::kDot:
        return error(fmt::format("unexpected . after term {}", go_quote(node->str())));
      default: {
        NodePtr chain = make(NodeType::kChain, pos);
        chain->children.push_back(std::move(node));
        chain->idents = std::move(fields);
        return chain;
      }
    }
  }

  Result<NodePtr> term() {
    size_t mark = next_;
    const Token& token = next_non_space();
    NodePtr node = make(NodeType::kDot, token.pos);
    node->text = token.text;
    switch (token.type) {
      case TokenType::kIdentifier:
        if (!has_function_(token.text))
          return error(fmt::format("function {} not defined", go_quote(token.text)));
        node->type = NodeType::kIdentifier;
        return node;
      case TokenType::kDot:
        return node;
      case TokenType::kNil:
        node->type = NodeType::kNil;
        return node;
      case TokenType::kVariable:
        node->type = NodeType::kVariable;
        node->idents = {token.text};
        if (std::find(variables_.begin(), variables_.end(), token.text) == variables_.end())
          return error(fmt::format("undefined variable {}", go_quote(token.text)));
        return node;
      case TokenType::kField:
        node->type = NodeType::kField;
        node->idents = {token.text.substr(1)};
        return node;
      case TokenType::kBool:
        node->type = NodeType::kBool;
        node->constant = Value::boolean(token.text == "true");
        return node;
      case TokenType::kCharConstant:
      case TokenType::kNumber: {
        node->type = NodeType::kNumber;
        auto number = parse_number(token.text, token.type == TokenType::kCharConstant);
        if (!number) return error(number.error().message());
        node->constant = number->value;
        node->integer_overflow = number->overflow;
        return node;
      }
      case TokenType::kString:
      case TokenType::kRawString: {
        node->type = NodeType::kString;
        auto text = unquote(token.text);
        if (!text) return error("invalid syntax");
        node->constant = Value::string(*text);
        return node;
      }
      case TokenType::kLeftParen:
        return pipeline("parenthesized pipeline", TokenType::kRightParen);
      default:
        next_ = mark;
        return NodePtr();
    }
  }

  const std::function<bool(std::string_view)>& has_function_;
  std::vector<Token> tokens_;
  size_t next_ = 0;
  int action_line_ = 0;
  int range_depth_ = 0;
  int depth_ = 0;
  std::vector<std::string> variables_{"$"};
  Trees trees_;
};

}  // namespace

Result<Trees> parse(std::string_view text,
                    const std::function<bool(std::string_view)>& has_function) {
  if (text.size() > kMaxTemplateBytes)
    return Error(ErrorKind::kLimit, "template: :1: template is longer than 1 MiB");
  return Parser(text, has_function).run();
}

}  // namespace kasane::cli::tmpl
