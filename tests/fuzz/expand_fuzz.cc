// Any bytes as a word to expand: no crash, no hang; a word without `$`, quotes, escapes and
// `<` is its own value; one pass of words never loses text.
#include <cstdlib>
#include <string_view>

#include "dockerfile/expand.h"
#include "dockerfile/heredoc.h"

using namespace kasane::dockerfile;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  EnvironmentList env({"A=1", "E=", "V=foo.bar.baz/qux", "S=two words", "U=\xe5\xae\x89"});
  for (char escape : {'\\', '`'}) {
    auto expanded = expand_word(text, env, escape);
    bool plain = text.find_first_of("$'\"\\`") == std::string_view::npos;
    if (plain && (!expanded || expanded->value != text)) std::abort();
    auto words = expand_words(text, env, escape);
    if (words.has_value() != expanded.has_value()) std::abort();
    if (words)
      for (const std::string& word : words->words)
        if (expanded->value.find(word) == std::string::npos) std::abort();
  }
  (void)expand_heredoc(text, env);
  (void)find_heredocs(text);
  return 0;
}
