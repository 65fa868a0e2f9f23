#include "cli/man_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "cli/help.h"

namespace kasane::cli {
namespace {

// Text for roff: nothing of it is a request or an escape.
std::string escape(std::string_view text) {
  std::string out;
  bool line_start = true;
  for (char c : text) {
    if (line_start && (c == '.' || c == '\'')) out += "\\&";
    switch (c) {
      case '\\':
        out += "\\e";
        break;
      case '-':
        out += "\\-";
        break;
      case '`':
        out += "\\(ga";
        break;
      case '\'':
        out += "\\(aq";
        break;
      case '^':
        out += "\\(ha";
        break;
      case '~':
        out += "\\(ti";
        break;
      default:
        out += c;
    }
    line_start = c == '\n';
  }
  return out;
}

std::string dashed(std::string_view path) {
  std::string out = "kasane-" + std::string(path);
  std::replace(out.begin(), out.end(), ' ', '-');
  return out;
}

std::string upper(std::string text) {
  for (char& c : text) c = static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
  return text;
}

std::string head(const std::string& name, std::string_view summary) {
  return fmt::format(
      ".TH {} 1 \"\" \"kasane {}\" \"User Commands\"\n.SH NAME\n{} \\- {}\n", escape(upper(name)),
      KASANE_VERSION, escape(name), escape(summary));
}

std::string flags_section(std::string_view title, std::span<const FlagSpec> flags) {
  std::vector<const FlagSpec*> shown;
  for (const FlagSpec& flag : flags)
    if (!flag.hidden) shown.push_back(&flag);
  if (shown.empty()) return {};
  std::sort(shown.begin(), shown.end(),
            [](const FlagSpec* a, const FlagSpec* b) { return a->name < b->name; });
  std::string out = fmt::format(".SH {}\n", title);
  for (const FlagSpec* flag : shown) {
    out += ".TP\n";
    if (flag->shorthand) out += fmt::format("\\fB\\-{}\\fR, ", flag->shorthand);
    out += fmt::format("\\fB\\-\\-{}\\fR", escape(flag->name));
    if (!flag->value_name.empty()) out += fmt::format(" \\fI{}\\fR", escape(flag->value_name));
    // Lines of a help text are rows of a list.
    std::string help(flag->help);
    if (!flag->default_text.empty() && flag->default_text != "false")
      help += fmt::format("\n(default: {})", flag->default_text);
    out += '\n';
    for (size_t at = 0; at <= help.size();) {
      const size_t newline = std::min(help.find('\n', at), help.size());
      if (at > 0) out += ".br\n";
      if (newline > at) out += escape(std::string_view(help).substr(at, newline - at)) + "\n";
      at = newline + 1;
    }
  }
  return out;
}

// Paragraphs, then "Examples:" with its indented lines as they are.
std::string help_section(std::string_view help) {
  constexpr std::string_view kExamples[] = {"Examples:\n", "Example:\n"};
  size_t at = std::string_view::npos, length = 0;
  for (std::string_view word : kExamples)
    if (const size_t found = help.find(word); found < at) {
      at = found;
      length = word.size();
    }
  std::string_view prose = help.substr(0, at);
  while (prose.ends_with('\n')) prose.remove_suffix(1);
  std::string out;
  if (!prose.empty()) {
    out += ".SH DESCRIPTION\n";
    std::string text = escape(prose);
    for (size_t blank; (blank = text.find("\n\n")) != std::string::npos;)
      text.replace(blank, 2, "\n.PP\n");
    out += text + "\n";
  }
  if (at == std::string_view::npos) return out;
  std::string_view examples = help.substr(at + length);
  out += ".SH EXAMPLES\n.nf\n";
  while (!examples.empty()) {
    const size_t newline = std::min(examples.find('\n'), examples.size());
    std::string_view line = examples.substr(0, newline);
    if (line.starts_with("  ")) line.remove_prefix(2);
    out += (line.empty() ? std::string("\\&") : escape(line)) + "\n";
    examples.remove_prefix(std::min(newline + 1, examples.size()));
  }
  return out + ".fi\n";
}

struct Entry {
  std::string page;
  std::string_view summary;
};

std::string list_section(std::string_view title, std::vector<Entry> entries) {
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return a.page < b.page; });
  std::string out = fmt::format(".SH {}\n", title);
  for (const Entry& entry : entries)
    out += fmt::format(".TP\n\\fB{}\\fR(1)\n{}\n", escape(entry.page), escape(entry.summary));
  return out;
}

// Commands whose path or alias is in the group ("" = at the top).
std::vector<Entry> commands_in(std::string_view group) {
  std::vector<Entry> out;
  for (const Command* command : all_commands()) {
    std::vector<std::string_view> paths{command->path};
    paths.insert(paths.end(), command->aliases.begin(), command->aliases.end());
    const bool inside = std::any_of(paths.begin(), paths.end(), [&](std::string_view path) {
      const size_t space = path.find(' ');
      return (space == std::string_view::npos ? "" : path.substr(0, space)) == group;
    });
    if (inside) out.push_back({man_name(*command), command->summary});
  }
  return out;
}

}  // namespace

std::string man_name(const Command& command) { return dashed(command.path); }

std::string man_page(const Command& command) {
  std::string out = head(man_name(command), command.summary);
  out += ".SH SYNOPSIS\n";
  std::vector<std::string_view> paths{command.path};
  paths.insert(paths.end(), command.aliases.begin(), command.aliases.end());
  for (size_t i = 0; i < paths.size(); ++i)
    out += fmt::format("{}\\fBkasane {}\\fR {}\n", i > 0 ? ".br\n" : "", escape(paths[i]),
                       escape(command.usage));
  out += help_section(command.help);
  out += flags_section("OPTIONS", command.flags);
  return out + ".SH SEE ALSO\n\\fBkasane\\fR(1)\n";
}

std::string man_group_page(const CommandGroup& group) {
  std::string out = head(dashed(group.name), group.summary);
  out += fmt::format(".SH SYNOPSIS\n\\fBkasane {}\\fR COMMAND\n", escape(group.name));
  out += list_section("COMMANDS", commands_in(group.name));
  return out + ".SH SEE ALSO\n\\fBkasane\\fR(1)\n";
}

std::string man_root_page() {
  std::string out = head("kasane", "build, keep and ship container images without a daemon");
  out += ".SH SYNOPSIS\n\\fBkasane\\fR [OPTIONS] COMMAND\n";
  out += ".SH DESCRIPTION\nCommands have the names, flags, output and exit codes of docker\\(aqs.\n";
  out += list_section("COMMANDS", commands_in(""));
  std::vector<Entry> groups;
  for (const CommandGroup& group : all_groups()) groups.push_back({dashed(group.name), group.summary});
  out += list_section("MANAGEMENT COMMANDS", std::move(groups));
  out += flags_section("GLOBAL OPTIONS", kGlobalFlags);
  out +=
      ".SH ENVIRONMENT\n.TP\n\\fBKASANE_ROOT\\fR\nDirectory of the image store.\n"
      ".TP\n\\fBDOCKER_CONFIG\\fR\nFolder of docker\\(aqs client configuration.\n"
      ".TP\n\\fBDOCKER_DEFAULT_PLATFORM\\fR\nPlatform for build, pull and import.\n";
  out +=
      ".SH EXIT STATUS\n0 for success; 1 for an error; 64 for a template that cannot be parsed (inspect); "
      "125 for flags that cannot be; 128 and the number of the signal that ended it.\n";
  return out;
}

}  // namespace kasane::cli
