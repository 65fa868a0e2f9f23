// Helpers of this folder's tests: a Dockerfile's findings as short lines.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "dockerfile/parser.h"
#include "lint/check.h"
#include "lint/check_report.h"

namespace kasane::lint::testing {

inline dockerfile::Dockerfile parsed(std::string text) {
  auto file = dockerfile::parse("Dockerfile", std::move(text));
  EXPECT_TRUE(file) << file.error().full_message();
  return file ? std::move(*file) : *dockerfile::parse("Dockerfile", "FROM scratch");
}

inline CheckInputs on_amd64() {
  CheckInputs inputs;
  inputs.platform = {"linux", "amd64", "", ""};
  return inputs;
}

inline CheckReport report_of(std::string text, const CheckInputs& inputs = on_amd64()) {
  auto report = check_dockerfile(parsed(std::move(text)), inputs);
  EXPECT_TRUE(report) << report.error().full_message();
  return report ? std::move(*report) : CheckReport();
}

// "UndefinedVar: Usage of undefined variable '$x' (line 3)", in BuildKit's order.
inline std::vector<std::string> check(std::string text, const CheckInputs& inputs = on_amd64()) {
  std::vector<std::string> out;
  for (const Finding& finding : report_of(std::move(text), inputs).findings)
    out.push_back(short_text(finding));
  return out;
}

// What a build would stop at, or "".
inline std::string error_of(std::string text, const CheckInputs& inputs = on_amd64()) {
  CheckReport report = report_of(std::move(text), inputs);
  return report.error ? report.error->full_message() : "";
}

}  // namespace kasane::lint::testing
