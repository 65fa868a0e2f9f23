// Helpers of the output tests. Test code only.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "oci/image_config.h"
#include "store/layer_testing.h"
#include "store/test_support.h"
#include "transfer/outputs.h"

namespace kasane::transfer::testing {

using store::LayerPtr;
using store::Store;
using store::testing::dir;
using store::testing::entry;
using store::testing::open_store;
using store::testing::shell;
using store::testing::slurp;
using store::testing::spew;
using store::testing::temp_dir;
using store::testing::value;
using tar::EntryType;

struct Item {
  tar::Entry entry;
  std::string content = {};
};
inline Item text(std::string path, std::string content, uint32_t mode = 0644) {
  Item item{store::testing::file(std::move(path), content.size()), std::move(content)};
  item.entry.mode = mode;
  return item;
}
inline Item folder(std::string path, uint32_t mode = 0755) {
  Item item{dir(std::move(path))};
  item.entry.mode = mode;
  return item;
}
inline Item link_to(std::string path, std::string target) {
  return {entry(EntryType::kHardlink, std::move(path), std::move(target))};
}
inline Item symlink(std::string path, std::string target) {
  return {entry(EntryType::kSymlink, std::move(path), std::move(target))};
}
inline Item gone(const std::string& path) {
  return {tar::whiteout_entry(*tar::whiteout_path(path))};
}

inline LayerPtr layer_of(Store& store, std::vector<Item> items) {
  std::sort(items.begin(), items.end(), [](const Item& a, const Item& b) {
    return tar::compare_paths(a.entry.path, b.entry.path) < 0;
  });
  std::unique_ptr<store::LayerWriter> writer = value(store::new_layer(store));
  for (const Item& item : items) {
    if (item.entry.type == EntryType::kFile && item.entry.size > 0) {
      MemorySource source(item.content);
      EXPECT_OK(writer->add_file(item.entry, source));
    } else {
      EXPECT_OK(writer->add(item.entry));
    }
  }
  return value(writer->commit());
}

inline BuiltPlatform built_of(const std::vector<LayerPtr>& layers,
                              const std::string& platform = "linux/amd64", size_t base = 0) {
  BuiltPlatform built;
  built.platform = value(oci::Platform::parse(platform));
  built.base_layers = base;
  oci::ImageConfig config;
  config.os = built.platform.os;
  config.architecture = built.platform.architecture;
  config.variant = built.platform.variant;
  config.created = "2024-01-02T03:04:05Z";
  for (const LayerPtr& layer : layers) {
    built.diff_ids.push_back(layer->diff_id());
    oci::HistoryEntry history;
    history.created = config.created;
    history.created_by = "RUN step " + std::to_string(built.diff_ids.size());
    config.history.push_back(std::move(history));
  }
  config.diff_ids = built.diff_ids;
  built.config_json = config.serialize();
  built.config_digest = sha256(built.config_json);
  return built;
}

class Warnings : public EventSink {
 public:
  void on_event(const Event& event) noexcept override {
    if (event.type == Event::Type::kWarning) texts.emplace_back(event.text);
  }
  std::vector<std::string> texts;
};

inline Result<ExportResult> export_to(Store& store, const std::vector<BuiltPlatform>& built,
                                      const std::string& output, Warnings* warnings = nullptr,
                                      std::optional<int64_t> epoch = std::nullopt) {
  ExportOptions options = TRY(parse_output(output));
  if (epoch) options.epoch = epoch;
  EventBus events;
  if (warnings) events.subscribe(warnings);
  return export_build(store, built, options, events, {});
}

inline bool has_program(const std::string& name) {
  Result<ProcessOutput> output = run_process({"sh", "-c", "command -v " + name});
  return output && output->exit_status == 0;
}
#define NEEDS_PROGRAM(name) \
  if (!has_program(name)) GTEST_SKIP() << name << " is not installed"

}  // namespace kasane::transfer::testing
