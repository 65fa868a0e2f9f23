// Build records: what each build did, kept beside the store's database so that
// `kasane why-rebuilt`, `kasane builds ls` and `kasane logs` can tell it later.
//   builds/<id>/record.json   what BuildRecord holds; written once, at the end
//   builds/<id>/logs/<n>.log  output of step n
//   builds/<id>/failed/       state of the step that failed (upper/, work/, spec.json)
//   builds/<id>/lock          held by the build while it runs (kernel lock, as in Ingest)
// Nothing is fsynced: a crash may lose the last records and can damage nothing else.
// Everything read here is judged as hostile: a record that is truncated or has another
// form is left out with a warning. Times are nanoseconds since the epoch, sizes bytes.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace kasane::store {

class Store;

inline constexpr size_t kKeptBuilds = 50;      // newest records
inline constexpr size_t kKeptFailedTrees = 3;  // newest failed/ directories

struct StepRecord {
  std::string name;   // as progress shows it: "[build 2/3] RUN make"
  std::string scope;  // StepRow::scope
  bool cached = false;
  std::string key_hex;
  std::string key_json;  // the readable parts of the key (build::StepKey::to_json)
  std::string reason;    // why it ran, or "hit"
  std::vector<std::string> details;
  std::string log;  // file name below logs/, "" when there is none
  uint64_t duration_ns = 0, max_rss_bytes = 0, cpu_ns = 0, bytes_written = 0;
  std::string error;
};

struct BuildRecord {
  std::string id;
  int64_t started_ns = 0, finished_ns = 0;
  std::vector<std::string> tags;  // canonical
  std::string image;              // "sha256:..." or "" when the build failed
  std::string dockerfile, context, target;
  std::vector<StepRecord> steps;
  std::string error;  // "" for a build that succeeded
};

// One build's record. Makes nothing on disk before the first open_log(),
// failed_directory() or finish(). open_log() and log_path() may be called from several
// threads at once. The Store must outlive it. Without finish() a directory that was made
// stays without record.json and is removed like an old record.
class BuildRecordWriter {
 public:
  static Result<std::unique_ptr<BuildRecordWriter>> begin(Store& store);
  ~BuildRecordWriter();
  BuildRecordWriter(const BuildRecordWriter&) = delete;
  BuildRecordWriter& operator=(const BuildRecordWriter&) = delete;

  const std::string& id() const;
  std::string directory() const;  // absolute; may not exist yet
  // A new empty file for the output of a step, opened for appending.
  Result<UniqueFd> open_log(size_t step_index);
  static std::string log_name(size_t step_index);  // "3.log": StepRecord::log
  std::string log_path(size_t step_index) const;   // absolute

  // Makes builds/<id>/failed/ for the state of a failed step and returns its path. Trees
  // are to be moved in by rename. Older failed trees beyond kKeptFailedTrees go.
  Result<std::string> failed_directory();

  // Writes record.json (record.id is replaced by id()) and removes the oldest records
  // beyond kKeptBuilds. A record above the size limit of JSON documents loses its keys and
  // details first.
  Result<void> finish(const BuildRecord& record);

 private:
  struct Impl;
  explicit BuildRecordWriter(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Newest first. What cannot be read is left out; `warnings` (may be null) gets a sentence.
Result<std::vector<BuildRecord>> list_builds(Store& store, size_t limit,
                                             std::vector<std::string>* warnings = nullptr);

// The newest build whose canonical tag, image id ("sha256:..." or at least 4 hex digits of
// it) or build id (or a unique start of it) this is; "" = the newest of all.
Result<std::optional<BuildRecord>> last_build_of(Store& store, const std::string& tag_or_id,
                                                 std::vector<std::string>* warnings = nullptr);

// Ids of records that are there, but cannot be read, and why. An empty one is what a power cut
// leaves of a record that was not synced: it is passed over like a build without record.
std::vector<std::pair<std::string, std::string>> damaged_build_records(const Store& store);

// Text of a step's log, the last `max_bytes` of it. kNotFound when it is gone.
Result<std::string> read_build_log(Store& store, const BuildRecord& build, const StepRecord& step,
                                   uint64_t max_bytes = 64u << 20);
// Absolute path of a step's log; kCorrupt when the record names a file outside its logs/.
Result<std::string> build_log_path(Store& store, const BuildRecord& build, const StepRecord& step);
// builds/<id>/failed of a build, when it is kept.
std::optional<std::string> failed_directory_of(Store& store, const std::string& build_id);

// Disk blocks of all records, logs and failed trees, in bytes.
uint64_t build_records_size(Store& store);

// Bytes of JSON ↔ record; pure. parse: kInvalid, kLimit.
std::string serialize_build_record(const BuildRecord& record);
Result<BuildRecord> parse_build_record(std::string_view json);

}  // namespace kasane::store
