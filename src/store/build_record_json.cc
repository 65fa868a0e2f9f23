// record.json: bytes ↔ BuildRecord. Written by us, read as if by an enemy.
#include <algorithm>

#include "oci/json.h"
#include "store/build_records.h"

namespace kasane::store {
namespace {

constexpr std::string_view kWhat = "build record";
constexpr int64_t kFormat = 1;
// Room for what shrinking leaves: names, scopes, reasons.
constexpr size_t kMaxRecordBytes = oci::Json::kMaxBytes - (64u << 10);
constexpr size_t kMaxTextBytes = 256u << 10;  // of one text
constexpr size_t kMaxSteps = 10'000;

class ObjectWriter {
 public:
  explicit ObjectWriter(std::string& out) : out_(out) { out_ += '{'; }
  void text(std::string_view name, std::string_view value) {
    if (value.empty()) return;
    key(name);
    write_text(value);
  }
  void number(std::string_view name, uint64_t value) {
    if (value == 0) return;
    key(name);
    out_ += std::to_string(std::min<uint64_t>(value, INT64_MAX));
  }
  void time(std::string_view name, int64_t value) {
    key(name);
    out_ += std::to_string(value);
  }
  void texts(std::string_view name, const std::vector<std::string>& values) {
    if (values.empty()) return;
    key(name);
    out_ += '[';
    for (size_t i = 0; i < values.size(); ++i) {
      if (i > 0) out_ += ',';
      write_text(values[i]);
    }
    out_ += ']';
  }
  void key(std::string_view name) {
    if (any_) out_ += ',';
    any_ = true;
    oci::write_json_string(out_, name);
    out_ += ':';
  }
  void end() { out_ += '}'; }

 private:
  // The strict reader takes no NUL, and one step must not use up the room of all.
  void write_text(std::string_view value) {
    std::string clean(value.substr(0, kMaxTextBytes));
    std::replace(clean.begin(), clean.end(), '\0', ' ');
    oci::write_json_string(out_, clean);
  }
  std::string& out_;
  bool any_ = false;
};

// What is kept of the steps, from everything to the least that is useful.
enum class Extent { kAll, kKeysOfRuns, kNoKeys, kNamesOnly };

void write_step(const StepRecord& step, Extent extent, std::string& out) {
  ObjectWriter object(out);
  object.text("name", std::string_view(step.name).substr(0, 4096));
  object.text("scope", std::string_view(step.scope).substr(0, 8192));
  if (step.cached) {
    object.key("cached");
    out += "true";
  }
  object.text("key", step.key_hex);
  const bool with_key = extent == Extent::kAll || (extent == Extent::kKeysOfRuns && !step.cached);
  // A shortened document would be none.
  if (with_key && step.key_json.size() <= kMaxTextBytes) object.text("parts", step.key_json);
  if (extent != Extent::kNamesOnly) {
    object.text("reason", step.reason);
    object.texts("details", step.details);
    object.text("error", step.error);
  }
  object.text("log", step.log);
  object.number("duration_ns", step.duration_ns);
  object.number("max_rss_bytes", step.max_rss_bytes);
  object.number("cpu_ns", step.cpu_ns);
  object.number("bytes_written", step.bytes_written);
  object.end();
}

std::string serialize(const BuildRecord& record, Extent extent) {
  std::string out;
  ObjectWriter object(out);
  object.number("format", kFormat);
  object.text("id", record.id);
  object.time("started_ns", record.started_ns);
  object.time("finished_ns", record.finished_ns);
  object.texts("tags", record.tags);
  object.text("image", record.image);
  object.text("dockerfile", record.dockerfile);
  object.text("context", record.context);
  object.text("target", record.target);
  object.text("error", record.error);
  object.key("steps");
  out += '[';
  for (size_t i = 0; i < std::min(record.steps.size(), kMaxSteps); ++i) {
    if (i > 0) out += ',';
    write_step(record.steps[i], extent, out);
  }
  out += ']';
  object.end();
  return out;
}

Result<uint64_t> amount(const oci::JsonReader& reader, std::string_view key) {
  int64_t value = 0;
  TRY(reader.get(key, value));
  if (value < 0) return reader.error(key, "is negative");
  return static_cast<uint64_t>(value);
}

Result<StepRecord> read_step(const oci::Json& json, const std::string& where) {
  if (!json.is_object())
    return Error(ErrorKind::kInvalid, std::string(kWhat) + ": " + where + " is not an object");
  oci::JsonReader reader(json, kWhat, where + ".");
  StepRecord step;
  TRY(reader.get("name", step.name));
  TRY(reader.get("scope", step.scope));
  TRY(reader.get("cached", step.cached));
  TRY(reader.get("key", step.key_hex));
  TRY(reader.get("parts", step.key_json));
  TRY(reader.get("reason", step.reason));
  TRY(reader.get("details", step.details));
  TRY(reader.get("error", step.error));
  TRY(reader.get("log", step.log));
  step.duration_ns = TRY(amount(reader, "duration_ns"));
  step.max_rss_bytes = TRY(amount(reader, "max_rss_bytes"));
  step.cpu_ns = TRY(amount(reader, "cpu_ns"));
  step.bytes_written = TRY(amount(reader, "bytes_written"));
  return step;
}

}  // namespace

std::string serialize_build_record(const BuildRecord& record) {
  std::string out;
  for (Extent extent : {Extent::kAll, Extent::kKeysOfRuns, Extent::kNoKeys, Extent::kNamesOnly}) {
    out = serialize(record, extent);
    if (out.size() <= kMaxRecordBytes) return out;
  }
  BuildRecord few = record;
  few.steps.resize(few.steps.size() / 2);
  return record.steps.empty() ? out : serialize_build_record(few);
}

Result<BuildRecord> parse_build_record(std::string_view json) {
  const oci::Json document = TRY(oci::Json::parse(json, kWhat));
  if (!document.is_object())
    return Error(ErrorKind::kInvalid, std::string(kWhat) + ": not an object");
  oci::JsonReader reader(document, kWhat);
  int64_t format = 0;
  TRY(reader.get("format", format));
  if (format != kFormat)
    return Error(ErrorKind::kUnsupported,
                 std::string(kWhat) + ": unknown format " + std::to_string(format));
  BuildRecord record;
  TRY(reader.get("id", record.id));
  TRY(reader.get("started_ns", record.started_ns));
  TRY(reader.get("finished_ns", record.finished_ns));
  TRY(reader.get("tags", record.tags));
  TRY(reader.get("image", record.image));
  TRY(reader.get("dockerfile", record.dockerfile));
  TRY(reader.get("context", record.context));
  TRY(reader.get("target", record.target));
  TRY(reader.get("error", record.error));
  if (const oci::Json* steps = TRY(reader.array("steps"))) {
    if (steps->items.size() > kMaxSteps)
      return Error(ErrorKind::kLimit, std::string(kWhat) + ": too many steps");
    for (const oci::Json& step : steps->items)
      record.steps.push_back(
          TRY(read_step(step, "steps[" + std::to_string(record.steps.size()) + "]")));
  }
  return record;
}

}  // namespace kasane::store
