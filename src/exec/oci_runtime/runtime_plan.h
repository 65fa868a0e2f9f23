// What the children of an OCI step need besides the LaunchPlan, prepared before clone(2).
#pragma once

#include <string_view>

#include "exec/sandbox/child_support.h"

namespace kasane::exec {

// The texts of config.json that do not depend on the step's user, who is only known when the
// image is mounted. In the order in which they are written; what comes between them is said.
struct ConfigTexts {
  std::string_view head;  // then: namespaces of the step by path
  std::string_view process;  // then: HOME, if the plan adds it
  bool env_is_empty = false;
  // then: user
  std::string_view root_capabilities;  // one of the two, then: the end
  std::string_view user_capabilities;
};

struct RuntimePlan {
  const char* program = nullptr;  // absolute path of the runtime
  char* const* create = nullptr;  // argv
  char* const* start = nullptr;
  char* const* environment = nullptr;
  const char* pid_file = nullptr;
  const char* config_file = nullptr;
  const char* null_device = nullptr;  // a node of our own, below plan.work
  ConfigTexts config;
  bool cover_cgroups = false;  // crun refuses hybrid mounts of cgroups (fact 0.1)
  bool probe = false;          // create only: the program is never started
};

}  // namespace kasane::exec
