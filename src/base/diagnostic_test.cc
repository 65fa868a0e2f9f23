#include "base/diagnostic.h"

#include <gtest/gtest.h>

namespace kasane {
namespace {

TEST(Diagnostic, ExcerptWithCaret) {
  auto source =
      std::make_shared<SourceText>("Dockerfile", "FROM a\nRUN x\nCPOY a b\nUSER u\nCMD c\nEND\n");
  const std::string text = render_excerpt({source, 13, 17});
  EXPECT_EQ(text,
            "Dockerfile:3\n"
            "--------------------\n"
            "   1 |     FROM a\n"
            "   2 |     RUN x\n"
            "   3 | >>> CPOY a b\n"
            "     |     ^~~~\n"
            "   4 |     USER u\n"
            "   5 |     CMD c\n"
            "--------------------\n");
}

TEST(Diagnostic, SeveralLinesAreMarkedWithoutCaret) {
  auto source = std::make_shared<SourceText>("f", "a\nb\nc\nd\ne\n");
  const std::string text = render_excerpt({source, 2, 6});
  EXPECT_NE(text.find("   2 | >>> b\n   3 | >>> c\n"), std::string::npos) << text;
  EXPECT_EQ(text.find('^'), std::string::npos);
  EXPECT_EQ(text.find("| >>> d"), std::string::npos);
}

TEST(Diagnostic, NowhereHasNoExcerpt) { EXPECT_EQ(render_excerpt({}), ""); }

TEST(Diagnostic, ErrorThenHint) {
  const Error error =
      Error(ErrorKind::kInvalid, "bad \x1b[31mname").context("parse").hint("rename it");
  EXPECT_EQ(render_error(error), "ERROR: parse: bad \\x1b[31mname\nhint: rename it\n");
  EXPECT_EQ(render_error(error, {.color = false, .prefix = ""}).substr(0, 6), "parse:");
}

TEST(Diagnostic, SanitizeEscapesControls) {
  EXPECT_EQ(sanitize("a\tb\x7f\r"), "a\tb\\x7f\\x0d");
  EXPECT_EQ(sanitize("a\nb"), "a\\x0ab");
  EXPECT_EQ(sanitize("a\nb", true), "a\nb");
  EXPECT_EQ(sanitize("\xe2\x80\xaex\xc2\x9b"
                     "31m\xe2\x81\xa6\xe2\x80\x94\xc2\xa0\xe2"),
            "\\xe2\\x80\\xaex\\xc2\\x9b31m\\xe2\\x81\\xa6\xe2\x80\x94\xc2\xa0\xe2");
  EXPECT_EQ(sanitize("é"), "é");
}

TEST(Diagnostic, NearestName) {
  const std::vector<std::string> names = {"COPY", "CMD", "ENTRYPOINT", "ENV"};
  EXPECT_EQ(nearest_name("CPOY", names), "COPY");
  EXPECT_EQ(nearest_name("entrypiont", names), "ENTRYPOINT");
  EXPECT_EQ(nearest_name("BANANA", names), "");
}

}  // namespace
}  // namespace kasane
