// Outline and targets as tables and JSON.
#include <algorithm>

#include "base/diagnostic.h"
#include "base/base64.h"
#include "lint/json_text.h"
#include "lint/outline.h"

namespace kasane::lint {
namespace {

using Row = std::vector<std::string>;

size_t width_of(std::string_view text) {  // in code points, as Go's text/tabwriter counts
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }));
}

// Go's text/tabwriter with one block: every column but the last is padded, also in front of
// an empty last cell.
std::string table(std::vector<Row> rows, size_t padding) {
  std::vector<size_t> widths;
  for (Row& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) {
      std::replace(row[i].begin(), row[i].end(), '\t', ' ');
      row[i] = sanitize(row[i]);
      widths[i] = std::max(widths[i], width_of(row[i]) + padding);
    }
  }
  std::string text;
  for (const Row& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      text += row[i];
      if (i + 1 < row.size()) text.append(widths[i] - width_of(row[i]), ' ');
    }
    text += '\n';
  }
  return text;
}

std::string mount_table(const char* title, const std::vector<OutlineMount>& mounts) {
  if (mounts.empty()) return "";
  std::vector<Row> rows = {{title, "REQUIRED"}};
  for (const OutlineMount& mount : mounts)
    rows.push_back({mount.name, mount.required ? "true" : ""});
  return table(std::move(rows), 3) + "\n";
}

oci::Json json_mounts(const std::vector<OutlineMount>& mounts) {
  oci::Json list = json_array();
  for (const OutlineMount& mount : mounts) {
    oci::Json json = json_object({{"name", json_string(mount.name)}});
    if (mount.required) json.members.push_back({"required", json_true()});
    json.members.push_back({"location", json_location(mount.span)});
    list.items.push_back(std::move(json));
  }
  return list;
}

oci::Json json_sources(const SourceText& source) {
  return json_array({json_string(base64(source.text()))});
}

}  // namespace

std::string outline_text(const Outline& outline) {
  std::string text;
  if (!outline.name.empty() || !outline.description.empty()) {
    std::vector<Row> rows = {{"TARGET:", outline.name.empty() ? "(default)" : outline.name}};
    if (!outline.description.empty()) rows.push_back({"DESCRIPTION:", outline.description});
    text += table(std::move(rows), 1) + "\n";
  }
  if (!outline.args.empty()) {
    std::vector<Row> rows = {{"BUILD ARG", "VALUE", "DESCRIPTION"}};
    for (const OutlineArg& arg : outline.args)
      rows.push_back({arg.name, arg.value.value_or(""), arg.description});
    text += table(std::move(rows), 3) + "\n";
  }
  return text + mount_table("SECRET", outline.secrets) + mount_table("SSH", outline.ssh);
}

std::string targets_text(const std::vector<Target>& targets) {
  std::vector<Row> rows = {{"TARGET", "DESCRIPTION"}};
  for (const Target& target : targets) {
    std::string name = target.name;
    if (target.is_default) name += name.empty() ? "(default)" : " (default)";
    rows.push_back({std::move(name), target.description});
  }
  return table(std::move(rows), 1);
}

std::string outline_json(const Outline& outline, const SourceText& source) {
  oci::Json json = json_object();
  add_text(json, "name", outline.name);
  add_text(json, "description", outline.description);
  oci::Json args = json_array();
  for (const OutlineArg& arg : outline.args) {
    oci::Json one = json_object({{"name", json_string(arg.name)}});
    add_text(one, "description", arg.description);
    add_text(one, "value", arg.value.value_or(""));
    one.members.push_back({"location", json_location(arg.span)});
    args.items.push_back(std::move(one));
  }
  if (!args.items.empty()) json.members.push_back({"args", std::move(args)});
  if (!outline.secrets.empty()) json.members.push_back({"secrets", json_mounts(outline.secrets)});
  if (!outline.ssh.empty()) json.members.push_back({"ssh", json_mounts(outline.ssh)});
  json.members.push_back({"sources", json_sources(source)});
  return indented(json);
}

std::string targets_json(const std::vector<Target>& targets, const SourceText& source) {
  oci::Json list = json_array();
  for (const Target& target : targets) {
    oci::Json one = json_object();
    add_text(one, "name", target.name);
    if (target.is_default) one.members.push_back({"default", json_true()});
    add_text(one, "description", target.description);
    add_text(one, "base", target.base);
    add_text(one, "platform", target.platform);
    one.members.push_back({"location", json_location(target.span)});
    list.items.push_back(std::move(one));
  }
  return indented(json_object({{"targets", std::move(list)}, {"sources", json_sources(source)}}));
}

}  // namespace kasane::lint
