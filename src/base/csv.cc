#include "base/csv.h"

namespace kasane {
namespace {

Error invalid(const char* what) { return Error(ErrorKind::kInvalid, what); }

// A quoted field that begins at `at` (on its quote); `at` ends behind it.
Result<std::string> quoted_field(std::string_view text, size_t& at) {
  std::string field;
  for (++at;; ++at) {
    if (at >= text.size()) return invalid("quote is not closed");
    if (text[at] != '"') {
      field += text[at];
    } else if (at + 1 < text.size() && text[at + 1] == '"') {
      field += text[++at];
    } else {
      ++at;
      if (at < text.size() && text[at] != ',') return invalid("text behind a closing quote");
      return field;
    }
  }
}

}  // namespace

Result<std::vector<std::string>> split_csv(std::string_view text) {
  std::vector<std::string> fields;
  for (size_t at = 0;; ++at) {
    if (at < text.size() && text[at] == '"') {
      fields.push_back(TRY(quoted_field(text, at)));
    } else {
      size_t end = std::min(text.find(',', at), text.size());
      std::string_view field = text.substr(at, end - at);
      if (field.find('"') != std::string_view::npos) return invalid("bare \" in non-quoted field");
      fields.emplace_back(field);
      at = end;
    }
    if (at >= text.size()) return fields;
  }
}

Result<std::vector<std::pair<std::string, std::string>>> split_csv_pairs(std::string_view text) {
  std::vector<std::pair<std::string, std::string>> pairs;
  std::vector<std::string> fields = TRY(split_csv(text));
  for (const std::string& field : fields) {
    size_t equals = field.find('=');
    pairs.emplace_back(field.substr(0, equals),
                       equals == std::string::npos ? std::string() : field.substr(equals + 1));
  }
  return pairs;
}

}  // namespace kasane
