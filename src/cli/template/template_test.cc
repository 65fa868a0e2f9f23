// What docker_cases.h cannot show: limits, heading rows, JSON, hostile input.
#include "cli/template/template.h"

#include <gtest/gtest.h>

#include "cli/template/gofmt.h"

namespace kasane::cli::tmpl {
namespace {

Result<std::string> run(std::string_view text, const Value& dot = Value::nil(),
                        const ExecuteOptions& options = {}) {
  Template parsed = TRY(Template::parse(text));
  return parsed.execute(dot, options);
}

std::string ok(std::string_view text, const Value& dot = Value::nil()) {
  auto result = run(text, dot);
  return result ? *result : "ERROR " + result.error().message();
}

TEST(Template, HeadingRowUsesIdentityFunctions) {
  Value headings = Value::map({{"ID", Value::string("IMAGE ID")}}, types::kStringMap);
  ExecuteOptions header{.header = true};
  EXPECT_EQ(
      *run("{{json .ID}}|{{lower .ID}}|{{split .ID \":\"}}|{{join .ID \",\"}}|{{truncate .ID 2}}",
           headings, header),
      "IMAGE ID|IMAGE ID|IMAGE ID|IMAGE ID|IMAGE ID");
  EXPECT_EQ(*run("{{pad .ID 1 1}}{{.Nope}}", headings, header), " IMAGE ID <no value>");
}

TEST(Template, LimitsHold) {
  std::string deep(100'000, '(');
  EXPECT_FALSE(Template::parse("{{" + deep));
  std::string ifs;
  for (int i = 0; i < 1000; ++i) ifs += "{{if true}}";
  EXPECT_FALSE(Template::parse(ifs));
  EXPECT_FALSE(Template::parse(std::string(2 << 20, 'x')));
  auto recursive = run("{{define \"t\"}}{{template \"t\"}}{{end}}{{template \"t\"}}");
  ASSERT_FALSE(recursive);
  EXPECT_NE(recursive.error().message().find("exceeded maximum template depth"), std::string::npos);
  auto huge = run("{{range 100000000}}xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx{{end}}");
  ASSERT_FALSE(huge);
  EXPECT_EQ(huge.error().kind(), ErrorKind::kLimit);
  EXPECT_LT(ok("{{printf \"%99999999d\" 1}}").size(), 100u);
}

TEST(Template, LongElseIfChainsAreFineUpToTheLimit) {
  std::string text = "{{if false}}";
  for (int i = 0; i < 150; ++i) text += "{{else if false}}";
  EXPECT_EQ(ok(text + "{{else}}end{{end}}"), "end");
}

TEST(Template, EveryPrefixAndByteFlipIsHandled) {
  const std::string text =
      "{{define \"a\"}}{{.}}{{end}}{{range $i, $v := .L}}{{if and $i (eq $v `x`)}}{{printf "
      "\"%d%%\" 1}}"
      "{{else if not .}}{{break}}{{end}}{{- /* c */ -}}{{end}}{{template \"a\" 'c'}}{{with $x := "
      ".M.k}}{{$x.y}}{{end}}";
  Value dot = Value::object(
      {{"L", "L", Value::strings({"x", "y"})}, {"M", "M", Value::map({}, types::kAnyMap)}},
      types::kEmpty);
  for (size_t i = 0; i <= text.size(); ++i) (void)run(text.substr(0, i), dot);
  for (size_t i = 0; i < text.size(); ++i)
    for (char c : {'\0', '"', '{', '}', '(', '.', '$', '\xff', '0'}) {
      std::string changed = text;
      changed[i] = c;
      (void)run(changed, dot);
    }
}

TEST(Template, PositionsOnLaterLines) {
  EXPECT_EQ(ok("a\nb {{.X}}", Value::integer(1)),
            "ERROR template: :2:4: executing \"\" at <.X>: can't evaluate field X in type int");
  EXPECT_EQ(ok("a\n{{"), "ERROR template: :2: unclosed action");
  EXPECT_EQ(ok("a\n{{if\n"), "ERROR template: :3: unclosed action started at :2");
}

TEST(GoFormat, Floats) {
  EXPECT_EQ(go_float(1e21, 'g', -1), "1e+21");
  EXPECT_EQ(go_float(123456789, 'g', -1), "1.23456789e+08");
  EXPECT_EQ(format_v(Value::real(123456789)), "1.23456789e+08");
  EXPECT_EQ(format_v(Value::real(100000)), "100000");
  EXPECT_EQ(format_v(Value::real(1e20)), "1e+20");
  EXPECT_EQ(format_v(Value::real(1e21)), "1e+21");
  EXPECT_EQ(format_v(Value::real(0.00001)), "1e-05");
  EXPECT_EQ(format_v(Value::real(-2.5)), "-2.5");
  EXPECT_EQ(go_float(4.2615, 'g', 3), "4.26");
  EXPECT_EQ(go_float(999.5, 'g', 3), "1e+03");
  EXPECT_EQ(go_float(2.0, 'g', 3), "2");
}

TEST(GoFormat, Durations) {
  EXPECT_EQ(go_duration(0), "0s");
  EXPECT_EQ(go_duration(1), "1ns");
  EXPECT_EQ(go_duration(1'100), "1.1\u00b5s");
  EXPECT_EQ(go_duration(2'200'000), "2.2ms");
  EXPECT_EQ(go_duration(3'300'000'000), "3.3s");
  EXPECT_EQ(go_duration(245'000'000'000), "4m5s");
  EXPECT_EQ(go_duration(245'001'000'000), "4m5.001s");
  EXPECT_EQ(go_duration(18'367'001'000'000), "5h6m7.001s");
  EXPECT_EQ(go_duration(480'000'000'001), "8m0.000000001s");
  EXPECT_EQ(go_duration(INT64_MIN), "-2562047h47m16.854775808s");
  constexpr GoType kDuration{"time.Duration", Kind::kInt};
  Value half = Value::integer(1'500'000'000, kDuration);
  EXPECT_EQ(ok("{{.}} {{printf \"%s %q %d\" . . .}} {{json .}}", half),
            "1.5s 1.5s \"1.5s\" 1500000000 1500000000");
}

TEST(Functions, CasesOfLetters) {
  EXPECT_EQ(ok("{{upper .}}|{{title .}}", Value::string("ça straße ÿ πς яё")),
            "ÇA STRAßE Ÿ ΠΣ ЯЁ|Ça Straße Ÿ Πς Яё");
  EXPECT_EQ(ok("{{lower .}}", Value::string("ÇA Ÿ ΠΣ ЯЁ ŁŃ Ž")), "ça ÿ πσ яё łń ž");
}

TEST(GoFormat, Quote) {
  EXPECT_EQ(go_quote("a\"b\\\n\x01\xff é\xe2\x80\xa8"), "\"a\\\"b\\\\\\n\\x01\\xff é\\u2028\"");
  EXPECT_EQ(go_quote("\x7f"), "\"\\x7f\"");
}

TEST(Json, AsGoWritesIt) {
  EXPECT_EQ(json_string("<&>\x01\t\"\\\xff\xe2\x80\xa8/", false),
            "\"<&>\\u0001\\t\\\"\\\\\\ufffd\\u2028/\"");
  EXPECT_EQ(json_string("<&>", true), "\"\\u003c\\u0026\\u003e\"");
  EXPECT_EQ(to_json(Value::real(1e21), false), "1e+21");
  EXPECT_EQ(to_json(Value::real(1e-7), false), "1e-7");
  EXPECT_EQ(to_json(Value::real(1.5), false), "1.5");
  EXPECT_EQ(to_indented_json(Value::list({}, types::kStrings)), "[]");
  EXPECT_EQ(to_indented_json(Value::map({}, types::kAnyMap)), "{}");
  constexpr GoType kRow{"*row", Kind::kStruct, nullptr, true, true};
  Value row = Value::object({{"Tag", "Tag", Value::string("<none>")}}, kRow);
  EXPECT_EQ(ok("{{json .}} {{json .Tag}}", row), "{\"Tag\":\"\\u003cnone\\u003e\"} \"<none>\"");
}

}  // namespace
}  // namespace kasane::cli::tmpl
