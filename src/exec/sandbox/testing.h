// Test support: an image tree of Debian's busybox-static and a step in it.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "base/fd.h"
#include "exec/executor.h"

namespace kasane::exec::testing {

struct StepResult {
  RunOutcome outcome;
  std::string out;
  std::string err;
  std::string error;  // of run() itself; empty when it succeeded
  std::string hint;
};

// One store directory with a busybox layer and a fresh upper and work directory per run.
class SandboxTest : public ::testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;

  // Adds an empty layer on top and returns its path.
  std::string add_layer();
  // A spec that runs `script` with /bin/sh in all layers, as root, in a new upper.
  RunSpec shell(const std::string& script);
  // These tests run with an OCI runtime (KASANE_TEST_RUNTIME).
  static bool with_oci_runtime();
  StepResult run(const RunSpec& spec, std::stop_token stop = {});
  StepResult sh(const std::string& script) { return run(shell(script)); }
  // Every path below the last upper directory: "d etc", "f etc/x", "w etc/gone", sorted;
  // an opaque directory is "o". Files carry no content.
  std::vector<std::string> upper_listing() const;
  std::string path(const std::string& name) const { return directory_->path() + "/" + name; }

  std::unique_ptr<TempDir> directory_;
  std::vector<std::string> layers_;  // lowest first
  std::string base_;                 // layers_[0]
  std::string upper_;
  std::unique_ptr<Executor> executor_;

 private:
  int runs_ = 0;
};

void write(const std::string& path, std::string_view text, mode_t mode = 0644);
std::string slurp(const std::string& path);

}  // namespace kasane::exec::testing
