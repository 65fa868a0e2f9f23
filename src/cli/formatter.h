// docker's --format: `table`, `table TEMPLATE`, `json`, `raw`, TEMPLATE (reference 1.0).
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cli/context.h"
#include "cli/flags.h"
#include "cli/template/template.h"
#include "cli/template/value.h"

namespace kasane::cli {

// One column that a list can show.
struct Column {
  std::string_view name;     // placeholder: "CreatedSince"
  std::string_view heading;  // "CREATED"
};

// A kind of list: its placeholders A-Z as docker's row object has them.
struct ListFormat {
  const tmpl::GoType* row_type;  // "*formatter.imageContext"
  std::span<const Column> columns;
  std::string table;  // default: "table {{.ID}}\t..."
  std::string raw;    // what `raw` stands for; empty: not offered
};

// Prints `count` rows; row(i) makes the value of each (type *row_type). Nothing is printed
// when the template fails. Errors carry docker's sentence "template parsing error: ..."
// and exit code 1.
Result<void> print_list(Context& context, const std::string& format, const ListFormat& list,
                        size_t count, const std::function<tmpl::Value(size_t)>& row);

// A row object from strings in the order of `columns`.
tmpl::Value make_row(const tmpl::GoType& type, std::span<const Column> columns,
                     std::vector<std::string> values);

// --format of commands that show one object (version, info): "json" or a template.
Result<std::string> format_object(const std::string& format, const tmpl::Value& value);

// How sentences about templates begin. docker's client says them itself, so that main prints
// nothing before them.
inline constexpr std::string_view kTemplateError = "template parsing error: ";

// "\t" and "\n" written as two characters become tab and newline; outer spaces go.
std::string unescape_format(std::string_view format);

// Replaces control bytes when the text goes to a terminal; newlines and tabs stay.
std::string for_terminal(const Context& context, std::string text);

inline constexpr std::string_view kFormatHelp =
    "Format output using a custom template:\n"
    "'table':            Columns with headings (default)\n"
    "'table TEMPLATE':   Columns from the given Go template\n"
    "'json':             One JSON object per line\n"
    "'TEMPLATE':         The given Go template, once per row";
inline constexpr FlagSpec kListFormatFlag = {
    .name = "format", .kind = FlagKind::kString, .value_name = "string", .help = kFormatHelp};
inline constexpr FlagSpec kObjectFormatFlag = {.name = "format",
                                               .shorthand = 'f',
                                               .kind = FlagKind::kString,
                                               .value_name = "string",
                                               .help =
                                                   "Format output using a custom template:\n"
                                                   "'json':             Print in JSON format\n"
                                                   "'TEMPLATE':         The given Go template"};

}  // namespace kasane::cli
