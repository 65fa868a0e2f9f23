#include "store/build_records.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <set>
#include <thread>

#include "store/store_internal.h"
#include "store/test_support.h"

namespace kasane::store {
namespace {

using testing::exists;
using testing::open_store;
using testing::value;

class BuildRecords : public ::testing::Test {
 protected:
  using Writer = std::unique_ptr<BuildRecordWriter>;
  Writer begin() {
    Result<Writer> writer = BuildRecordWriter::begin(*store_);
    EXPECT_TRUE(writer);
    return std::move(*writer);
  }
  BuildRecord record(const std::string& tag = "docker.io/library/app:1") {
    BuildRecord out;
    out.started_ns = 1'700'000'000'000'000'001;
    out.finished_ns = out.started_ns + 5;
    if (!tag.empty()) out.tags = {tag};
    out.image = sha256(tag).str();
    out.dockerfile = "Dockerfile";
    out.context = "/ctx";
    StepRecord step;
    step.name = "[1/2] RUN make \"x\" \xff";
    step.scope = "/ctx|Dockerfile|stage=0|step=1";
    step.key_hex = sha256("k").hex();
    step.key_json = R"([["kind","RUN"]])";
    step.reason = "no earlier run of this step";
    step.details = {"a", "b"};
    step.log = "0.log";
    step.duration_ns = 7;
    step.max_rss_bytes = UINT64_MAX;
    step.cpu_ns = 3;
    step.bytes_written = 4;
    out.steps = {step, {}};
    out.steps[1].name = "[2/2] COPY . .";
    out.steps[1].cached = true;
    return out;
  }
  std::string finish(const BuildRecord& what) {
    Writer writer = begin();
    EXPECT_OK(writer->finish(what));
    return writer->id();
  }
  std::vector<std::string> ids() {
    std::vector<std::string> out;
    for (const BuildRecord& build : value(list_builds(*store_, 1000))) out.push_back(build.id);
    return out;
  }

  TempDir directory_ = TempDir::make("kasane-builds").take();
  std::unique_ptr<Store> store_ = open_store(directory_.path() + "/store");
};

TEST_F(BuildRecords, NothingIsMadeBeforeItIsNeeded) {
  EXPECT_TRUE(value(list_builds(*store_, 10)).empty());
  EXPECT_FALSE(value(last_build_of(*store_, "")).has_value());
  Writer writer = begin();
  EXPECT_FALSE(exists(store_->root()));
  ASSERT_OK(writer->finish(record()));
  EXPECT_EQ(ids(), std::vector<std::string>{writer->id()});
  EXPECT_EQ(value(list_directory(writer->directory())), std::vector<std::string>{"record.json"});
}

TEST_F(BuildRecords, ComesBackAsItWas) {
  BuildRecord before = record();
  before.error = "step failed";
  before.target = "t";
  std::string id = finish(before);
  BuildRecord after = *value(last_build_of(*store_, ""));
  EXPECT_EQ(after.id, id);
  EXPECT_EQ(after.started_ns, before.started_ns);
  EXPECT_EQ(after.finished_ns, before.finished_ns);
  EXPECT_EQ(after.tags, before.tags);
  EXPECT_EQ(after.image, before.image);
  EXPECT_EQ(after.error, before.error);
  EXPECT_EQ(after.target, before.target);
  EXPECT_EQ(after.context, before.context);
  EXPECT_EQ(after.dockerfile, before.dockerfile);
  ASSERT_EQ(after.steps.size(), 2u);
  const StepRecord& step = after.steps[0];
  EXPECT_EQ(step.name, "[1/2] RUN make \"x\" \xef\xbf\xbd");
  EXPECT_EQ(step.scope, before.steps[0].scope);
  EXPECT_EQ(step.key_json, before.steps[0].key_json);
  EXPECT_EQ(step.reason, before.steps[0].reason);
  EXPECT_EQ(step.details, before.steps[0].details);
  EXPECT_EQ(step.log, "0.log");
  EXPECT_EQ(step.duration_ns, 7u);
  EXPECT_EQ(step.max_rss_bytes, uint64_t{INT64_MAX});
  EXPECT_EQ(step.bytes_written, 4u);
  EXPECT_TRUE(after.steps[1].cached);
  EXPECT_FALSE(step.cached);
}

TEST_F(BuildRecords, IsFoundByTagImageAndId) {
  std::string a = finish(record("docker.io/library/a:1")), b = finish(record("docker.io/b/b:1"));
  std::string again = finish(record("docker.io/library/a:1"));
  auto found = [&](const std::string& text) {
    std::optional<BuildRecord> build = value(last_build_of(*store_, text));
    return build ? build->id : "";
  };
  EXPECT_EQ(found(""), again);
  EXPECT_EQ(found("docker.io/library/a:1"), again);
  EXPECT_EQ(found("docker.io/b/b:1"), b);
  EXPECT_EQ(found(sha256("docker.io/b/b:1").str()), b);
  EXPECT_EQ(found(sha256("docker.io/b/b:1").hex().substr(0, 12)), b);
  EXPECT_EQ(found(a), a);
  EXPECT_EQ(found(a.substr(0, a.size() - 2)), a);
  EXPECT_EQ(found("docker.io/library/c:1"), "");
  EXPECT_EQ(found("a"), "");
  EXPECT_EQ(value(list_builds(*store_, 2)).size(), 2u);
}

TEST_F(BuildRecords, Logs) {
  Writer writer = begin();
  {
    std::vector<std::thread> threads;
    for (size_t i = 0; i < 8; ++i)
      threads.emplace_back([&, i] {
        Result<UniqueFd> log = writer->open_log(i);
        ASSERT_TRUE(log) << log.error().full_message();
        ASSERT_OK(write_all(log->get(), "step " + std::to_string(i), "log"));
      });
    for (std::thread& thread : threads) thread.join();
  }
  BuildRecord built = record();
  built.id = writer->id();
  EXPECT_EQ(value(build_log_path(*store_, built, built.steps[0])), writer->log_path(0));
  EXPECT_EQ(value(read_build_log(*store_, built, built.steps[0])), "step 0");
  EXPECT_EQ(value(read_build_log(*store_, built, built.steps[0], 2)), " 0");
  EXPECT_EQ(read_build_log(*store_, built, built.steps[1]).error().kind(), ErrorKind::kNotFound);
  ASSERT_OK(writer->finish(built));
  EXPECT_EQ(ids().size(), 1u);
}

TEST_F(BuildRecords, LogsOutsideTheDirectoryAreRefused) {
  BuildRecord built = record();
  built.id = finish(built);
  for (const char* name : {"../record.json", "/etc/passwd", "..", ".", "a/b"}) {
    built.steps[0].log = name;
    EXPECT_EQ(read_build_log(*store_, built, built.steps[0]).error().kind(), ErrorKind::kCorrupt);
  }
  built.steps[0].log = "0.log";
  ASSERT_EQ(::mkdir(store_->path("builds/" + built.id + "/logs").c_str(), 0700), 0);
  ASSERT_EQ(::symlink("/etc/passwd", store_->path("builds/" + built.id + "/logs/0.log").c_str()),
            0);
  EXPECT_FALSE(read_build_log(*store_, built, built.steps[0]));
  built.id = "../../etc";
  EXPECT_EQ(read_build_log(*store_, built, built.steps[0]).error().kind(), ErrorKind::kCorrupt);
}

TEST_F(BuildRecords, OnlyTheNewestStay) {
  Writer living = begin();
  ASSERT_OK(living->open_log(0));
  Writer dead = begin();
  ASSERT_OK(dead->open_log(0));
  std::string dead_id = dead->id();
  dead.reset();
  for (size_t i = 0; i < kKeptBuilds + 3; ++i) finish(record());
  EXPECT_EQ(ids().size(), kKeptBuilds);
  EXPECT_TRUE(exists(living->directory()));
  EXPECT_FALSE(exists(store_->path("builds/" + dead_id)));
  EXPECT_TRUE(value(list_directory(store_->path("trash"))).empty());
  ASSERT_OK(living->finish(record()));
  EXPECT_TRUE(value(store_->check({})).damaged.empty());
}

TEST_F(BuildRecords, ForeignNamesAreLeftAlone) {
  finish(record());
  ASSERT_EQ(::mkdir(store_->path("builds/mine").c_str(), 0700), 0);
  for (size_t i = 0; i < kKeptBuilds + 1; ++i) finish(record());
  EXPECT_TRUE(exists(store_->path("builds/mine")));
  EXPECT_EQ(ids().size(), kKeptBuilds);
}

TEST_F(BuildRecords, AtMostThreeFailedTrees) {
  std::vector<std::string> built;
  for (int i = 0; i < 5; ++i) {
    Writer writer = begin();
    std::string failed = value(writer->failed_directory());
    ASSERT_OK(make_directories(failed + "/upper/deep/er"));
    ASSERT_EQ(::chmod((failed + "/upper/deep").c_str(), 0), 0);
    ASSERT_OK(writer->finish(record()));
    built.push_back(writer->id());
  }
  for (int i = 0; i < 5; ++i)
    EXPECT_EQ(failed_directory_of(*store_, built[i]).has_value(), i >= 2) << i;
  EXPECT_EQ(ids().size(), 5u);
  EXPECT_TRUE(value(list_directory(store_->path("trash"))).empty());
  EXPECT_FALSE(failed_directory_of(*store_, "../x").has_value());
}

TEST_F(BuildRecords, DamagedRecordsAreLeftOutWithAWarning) {
  std::string good = finish(record());
  std::string text = value(read_file(store_->path("builds/" + good + "/record.json")));
  std::vector<std::string> hostile = {
      "",
      text.substr(0, text.size() / 2),
      "[]",
      "null",
      R"({"format":2})",
      R"({"format":1,"steps":{}})",
      R"({"format":1,"steps":[1]})",
      R"({"format":1,"steps":[{"duration_ns":-1}]})",
      R"({"format":1,"tags":[1]})",
      R"({"format":1,"format":1})",
      R"({"format":1,"started_ns":1e99})",
      std::string(5u << 20, ' '),
      "{\"format\":1,\"x\":" + std::string(100'000, '[') + "}",
  };
  for (const std::string& bytes : hostile) {
    std::string id = finish(record());
    ASSERT_OK(replace_file(store_->path("builds/" + id + "/record.json"), bytes));
    std::vector<std::string> warnings;
    std::vector<BuildRecord> builds = value(list_builds(*store_, 100, &warnings));
    ASSERT_EQ(builds.size(), 1u) << bytes.substr(0, 80);
    EXPECT_EQ(builds[0].id, good);
    // An empty one is what a power cut leaves of a record that nobody synced.
    EXPECT_EQ(warnings.empty(), bytes.empty());
    EXPECT_EQ(damaged_build_records(*store_).size(), bytes.empty() ? 0u : 1u);
    EXPECT_EQ(value(last_build_of(*store_, ""))->id, good);
    ASSERT_OK(remove_tree(store_->path("builds/" + id)));
  }
  std::string fifo = finish(record());
  ::unlink(store_->path("builds/" + fifo + "/record.json").c_str());
  ASSERT_EQ(::mkfifo(store_->path("builds/" + fifo + "/record.json").c_str(), 0600), 0);
  EXPECT_EQ(ids().size(), 1u);
}

// The clock went back: the newest record is still the last one, by its name.
TEST_F(BuildRecords, NewRecordsSortBehindThoseOfTheFuture) {
  const std::string future = store_->path("builds/29991231T235959.999999-0123abcd");
  ASSERT_OK(make_directories(future));
  const std::string first = finish(record()), second = finish(record());
  EXPECT_GT(first, "29991231T235959.999999-0123abcd");
  EXPECT_GT(second, first);
  EXPECT_EQ(value(last_build_of(*store_, ""))->id, second);
}

TEST_F(BuildRecords, EveryTruncationIsRefused) {
  std::string text = serialize_build_record(record());
  ASSERT_TRUE(parse_build_record(text));
  for (size_t i = 0; i < text.size(); ++i) EXPECT_FALSE(parse_build_record(text.substr(0, i))) << i;
}

TEST_F(BuildRecords, HugeRecordsAreShortened) {
  BuildRecord big = record();
  big.steps.assign(3000, big.steps[0]);
  for (StepRecord& step : big.steps) step.key_json = std::string(3000, 'k');
  BuildRecord back = value(parse_build_record(serialize_build_record(big)));
  ASSERT_EQ(back.steps.size(), 3000u);
  EXPECT_EQ(back.steps[0].key_json, "");
  EXPECT_EQ(back.steps[0].reason, big.steps[0].reason);
  for (StepRecord& step : big.steps) step.details.assign(20, std::string(100, 'd'));
  back = value(parse_build_record(serialize_build_record(big)));
  EXPECT_EQ(back.steps.size(), 3000u);
  big.steps[0].details.clear();
  big.steps.assign(5000, big.steps[0]);
  for (StepRecord& step : big.steps) step.name = std::string(4000, 'n');
  EXPECT_FALSE(value(parse_build_record(serialize_build_record(big))).steps.empty());
  big.steps.resize(1);
  big.steps[0].name = std::string("a\0b", 3);
  EXPECT_EQ(value(parse_build_record(serialize_build_record(big))).steps[0].name, "a b");
}

TEST_F(BuildRecords, ManyWritersAtOnce) {
  std::vector<pid_t> children;
  for (int i = 0; i < 6; ++i)
    children.push_back(testing::spawn([&] {
      for (int k = 0; k < 20; ++k) {
        std::unique_ptr<Store> store = open_store(store_->root());
        Result<Writer> writer = BuildRecordWriter::begin(*store);
        if (k % 2 == 0 && !(*writer)->open_log(0)) return 1;
        if (!(*writer)->finish(record())) return 2;
      }
      return 0;
    }));
  for (pid_t child : children) EXPECT_EQ(testing::wait_for(child), 0);
  finish(record());
  std::vector<std::string> warnings;
  EXPECT_EQ(value(list_builds(*store_, 1000, &warnings)).size(), kKeptBuilds);
  EXPECT_TRUE(warnings.empty());
}

}  // namespace
}  // namespace kasane::store
