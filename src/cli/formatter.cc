#include "cli/formatter.h"

#include <algorithm>

#include "base/diagnostic.h"
#include "cli/table.h"

namespace kasane::cli {
namespace {

using tmpl::Template;
using tmpl::Value;

constexpr tmpl::GoType kHeaderType{"formatter.SubHeaderContext", tmpl::Kind::kMap,
                                   &tmpl::types::kString};

Error template_error(const Error& error, int exit_code) {
  return Error(ErrorKind::kInvalid, std::string(kTemplateError) + error.message())
      .exit_code(exit_code);
}

Value headings(const ListFormat& list) {
  tmpl::Map map;
  for (const Column& column : list.columns)
    map.emplace(column.name, Value::string(std::string(column.heading)));
  return Value::map(std::move(map), kHeaderType);
}

Result<std::string> render(const Template& parsed, const Value& value,
                           const tmpl::ExecuteOptions& options = {}) {
  auto text = parsed.execute(value, options);
  if (!text) return template_error(text.error(), 1);
  return *text;
}

// Cells of a table must not break it: what a label or a build step wrote is escaped.
std::string table_cells(std::string text) { return sanitize(text, true); }

}  // namespace

std::string unescape_format(std::string_view format) {
  std::string out;
  for (size_t i = 0; i < format.size(); ++i) {
    if (format[i] == '\\' && i + 1 < format.size() &&
        (format[i + 1] == 't' || format[i + 1] == 'n'))
      out += format[++i] == 't' ? '\t' : '\n';
    else
      out += format[i];
  }
  size_t begin = out.find_first_not_of(' ');
  if (begin == std::string::npos) return {};
  return out.substr(begin, out.find_last_not_of(' ') - begin + 1);
}

tmpl::Value make_row(const tmpl::GoType& type, std::span<const Column> columns,
                     std::vector<std::string> values) {
  tmpl::Struct fields;
  for (size_t i = 0; i < columns.size(); ++i)
    fields.push_back({columns[i].name, columns[i].name, Value::string(std::move(values[i]))});
  return Value::object(std::move(fields), type);
}

std::string for_terminal(const Context& context, std::string text) {
  return context.streams.out_is_terminal ? sanitize(text, true) : text;
}

Result<void> print_list(Context& context, const std::string& given, const ListFormat& list,
                        size_t count, const std::function<tmpl::Value(size_t)>& row) {
  std::string format = unescape_format(given);
  if (format.empty() || format == "table") format = unescape_format(list.table);
  if (format == "raw" && !list.raw.empty()) format = list.raw;
  if (format == "json") format = "{{json .}}";
  const bool table = format.starts_with("table");
  if (table) format = unescape_format(format.substr(std::string_view("table").size()));
  auto parsed = Template::parse(format);
  if (!parsed) return template_error(parsed.error(), 1);
  std::string text;
  for (size_t i = 0; i < count; ++i) {
    text += TRY(render(*parsed, row(i)));
    text += '\n';
  }
  if (!table) {
    context.out(for_terminal(context, std::move(text)));
    return {};
  }
  std::string heading = TRY(render(*parsed, headings(list), {.header = true}));
  context.out(align_table(table_cells(heading + "\n" + text)));
  return {};
}

Result<std::string> format_object(const std::string& given, const tmpl::Value& value) {
  if (given == "json") return tmpl::to_json(value, true);
  auto parsed = Template::parse(given);
  if (!parsed) return template_error(parsed.error(), 64);
  auto text = parsed->execute(value);
  if (!text) return template_error(text.error(), 1);
  return *text;
}

}  // namespace kasane::cli
