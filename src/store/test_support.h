// What the tests of the store core share. Header only; included by *_test.cc.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "oci/image_config.h"
#include "store/layer.h"
#include "store/store.h"

namespace kasane::store::testing {

#define ASSERT_OK(expression)                                                 \
  do {                                                                        \
    auto&& assert_ok_result = (expression);                                   \
    ASSERT_TRUE(assert_ok_result) << assert_ok_result.error().full_message(); \
  } while (false)
#define EXPECT_OK(expression)                                                 \
  do {                                                                        \
    auto&& expect_ok_result = (expression);                                   \
    EXPECT_TRUE(expect_ok_result) << expect_ok_result.error().full_message(); \
  } while (false)

// The value, or a test failure and an empty value.
template <class T>
T value(Result<T> result) {
  EXPECT_TRUE(result.has_value()) << (result ? "" : result.error().full_message());
  return result ? std::move(result).take() : T{};
}

inline std::unique_ptr<Store> open_store(const std::string& root, bool read_only = false) {
  OpenOptions options;
  options.root = root;
  options.read_only = read_only;
  return value(Store::open(options));
}

// A layer with one file of this content.
inline LayerPtr make_layer(Store& store, const std::string& content,
                           const std::string& name = "file") {
  std::unique_ptr<LayerWriter> writer = value(new_layer(store));
  tar::Entry entry;
  entry.path = name;
  entry.size = content.size();
  MemorySource source(content);
  EXPECT_OK(writer->add_file(entry, source));
  return value(writer->commit());
}

inline ImageRecord image_of(const std::vector<LayerPtr>& layers, const std::string& note = "",
                            const std::string& created = "2024-01-02T03:04:05Z") {
  oci::ImageConfig config;
  config.architecture = "amd64";
  config.os = "linux";
  config.created = created;
  config.config.labels = {{"note", note}, {"empty", ""}};
  ImageRecord image;
  for (const LayerPtr& layer : layers) {
    config.diff_ids.push_back(layer->diff_id());
    image.diff_ids.push_back(layer->diff_id());
  }
  image.config_json = config.serialize();
  return image;
}

inline StepRow step_of(const std::string& key, const LayerPtr& layer,
                       const std::string& scope = "scope") {
  StepRow step;
  step.key = sha256(key);
  step.diff_id = layer->diff_id();
  step.created_ns = 5;
  step.duration_ns = 7;
  step.scope = scope;
  step.explanation = "{\"key\":\"" + key + "\"}";
  return step;
}

inline bool exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

// Runs `work` in a forked child; its return value is the exit status.
inline pid_t spawn(const std::function<int()>& work) {
  pid_t child = ::fork();
  if (child == 0) ::_exit(work());
  return child;
}

inline int wait_for(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace kasane::store::testing
