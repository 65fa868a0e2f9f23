#include "lint/check_report.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/diagnostic.h"
#include "base/base64.h"
#include "lint/json_text.h"

namespace kasane::lint {
namespace {

oci::Json json_of(const Finding& finding) {
  oci::Json json = json_object({{"ruleName", json_string(finding.rule)}});
  add_text(json, "description", finding.description);
  add_text(json, "url", finding.url);
  add_text(json, "detail", finding.message);
  json.members.push_back({"location", json_location(finding.span)});
  return json;
}

std::vector<const Finding*> by_line(const std::vector<Finding>& findings) {
  std::vector<const Finding*> sorted;
  for (const Finding& finding : findings) sorted.push_back(&finding);
  std::stable_sort(sorted.begin(), sorted.end(), [](const Finding* a, const Finding* b) {
    return a->span.first_line() < b->span.first_line();
  });
  return sorted;
}

std::string details(const Finding& finding) {
  std::string text = sanitize(finding.description) + "\n";
  if (!finding.url.empty()) text += "More info: " + finding.url + "\n";
  if (!finding.note.empty()) text += "note: " + sanitize(finding.note) + "\n";
  return text + render_excerpt(finding.span) + "\n";
}

}  // namespace

std::string short_text(const Finding& finding) {
  std::string text = finding.rule + ": " + sanitize(finding.message);
  if (finding.span) text += fmt::format(" (line {})", finding.span.first_line());
  return text;
}

std::string build_summary(const std::vector<Finding>& findings, bool expanded) {
  if (findings.empty()) return "";
  std::string text = findings.size() == 1 ? std::string("\n 1 warning found")
                                          : fmt::format("\n {} warnings found", findings.size());
  text += expanded ? ":\n" : " (use kasane --debug to expand):\n";
  for (const Finding& finding : findings) {
    text += " - " + short_text(finding) + "\n";
    if (expanded) text += details(finding);
  }
  return text;
}

std::string check_text(const CheckReport& report) {
  const size_t count = report.findings.size();
  if (count == 0) return report.error ? "" : "Check complete, no warnings found.\n";
  std::string text = count == 1
                         ? "Check complete, 1 warning has been found!\n"
                         : fmt::format("Check complete, {} warnings have been found!\n", count);
  for (const Finding* finding : by_line(report.findings)) {
    text += "\nWARNING: " + finding->rule;
    if (!finding->url.empty()) text += " - " + finding->url;
    text += "\n" + sanitize(finding->message) + "\n";
    if (!finding->note.empty()) text += "note: " + sanitize(finding->note) + "\n";
    text += render_excerpt(finding->span);
  }
  return text;
}

std::string check_json(const CheckReport& report, const SourceText& source) {
  oci::Json warnings = json_array();
  for (const Finding& finding : report.findings) warnings.items.push_back(json_of(finding));
  oci::Json file = json_object();
  add_text(file, "filename", source.name());
  add_text(file, "data", base64(source.text()));
  add_text(file, "language", "Dockerfile");
  oci::Json json =
      json_object({{"warnings", std::move(warnings)}, {"sources", json_array({std::move(file)})}});
  std::optional<Error> error = report.error;
  const bool located = error.has_value();  // E13 is about the whole file
  if (!error) error = lint_violation(report);
  if (error)
    json.members.push_back(
        {"buildError",
         json_object({{"message", json_string(error->full_message())},
                      {"location", located ? json_location(error->span()) : json_object()}})});
  return indented(json);
}

}  // namespace kasane::lint
