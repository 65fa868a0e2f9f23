// Text forms that history and expansion share.
#include <fmt/format.h>

#include "build/lower/stage.h"
#include "build/source_tree.h"

namespace kasane::build {

std::string go_quote(std::string_view text) {
  std::string out = "\"";
  for (unsigned char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\r':
        out += "\\r";
        break;
      default:
        if (c < 0x20 || c == 0x7f)
          out += fmt::format("\\x{:02x}", c);
        else
          out += static_cast<char>(c);
    }
  }
  return out + '"';
}

std::string go_quoted_list(const std::vector<std::string>& items) {
  std::string out = "[";
  for (const std::string& item : items) {
    if (out.size() > 1) out += ' ';
    out += go_quote(item);
  }
  return out + ']';
}

std::string join(const std::vector<std::string>& items, std::string_view separator) {
  std::string out;
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) out += separator;
    out += items[i];
  }
  return out;
}

std::string absolute_path(const std::string& workdir, std::string_view path) {
  if (path.starts_with('/')) return "/" + clean_path(path);
  return "/" + clean_path(workdir + "/" + std::string(path));
}

}  // namespace kasane::build
