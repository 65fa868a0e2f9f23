// Commands about cache mounts and recorded builds.
#include <gtest/gtest.h>

#include "cli/testing.h"
#include "store/build_records.h"
#include "store/cache_mounts.h"
#include "store/store.h"

namespace kasane::cli {
namespace {

class Caches : public testing::CliTest {
 protected:
  std::unique_ptr<store::Store> open() {
    store::OpenOptions options;
    options.root = path("store");
    return std::move(*store::Store::open(options));
  }
  void make_cache(const std::string& id, const std::string& content) {
    auto store = open();
    store::CacheMountRequest request;
    request.id = id;
    auto handle = store::open_cache_mount(*store, request);
    ASSERT_TRUE(handle);
    ASSERT_TRUE(replace_file(handle->path() + "/file", content));
  }
  std::string make_build(const std::string& tag, const std::string& log = "") {
    auto store = open();
    auto writer = store::BuildRecordWriter::begin(*store);
    EXPECT_TRUE(writer);
    store::BuildRecord build;
    build.started_ns = kNow - 125'000'000'000;
    build.finished_ns = kNow - 60'000'000'000;
    if (!tag.empty()) build.tags = {tag};
    build.image = sha256(tag).str();
    store::StepRecord cached, ran;
    cached.name = "[1/2] COPY . .";
    cached.cached = true;
    cached.reason = "hit";
    cached.key_json = R"([["kind","COPY"]])";
    ran.name = "[2/2] RUN make \x1b[31m";
    ran.duration_ns = 1'500'000'000;
    ran.reason = "variable A changed from 1 to 2";
    ran.details = {"the files of the step before it changed"};
    ran.key_json = R"([["kind","RUN"],["parent",")" + sha256("p").hex() +
                   R"("],["env A","2"],["env PATH","/bin"],["command","make"]])";
    if (!log.empty()) {
      auto fd = (*writer)->open_log(1);
      EXPECT_TRUE(fd && write_all(fd->get(), log, "log"));
      ran.log = store::BuildRecordWriter::log_name(1);
    }
    build.steps = {cached, ran};
    EXPECT_TRUE((*writer)->finish(build));
    return (*writer)->id();
  }
};

TEST_F(Caches, NothingThere) {
  EXPECT_EQ(run({"cache", "ls"}).code, 0);
  EXPECT_EQ(run({"builds", "ls"}).code, 0);
  EXPECT_EQ(run({"cache", "du"}).code, 0);
  EXPECT_EQ(run({"why-rebuilt"}).code, 1);
  EXPECT_EQ(run({"logs"}).code, 1);
  EXPECT_NE(run({"cache", "export", "a", "-"}).err.find("No such cache mount: a"),
            std::string::npos);
}

TEST_F(Caches, ListExportImportPrune) {
  make_cache("/root/.cache", "x");
  EXPECT_NE(run({"cache", "ls"}).out.find("/root/.cache"), std::string::npos);
  EXPECT_EQ(run({"cache", "ls", "--format", "{{.ID}} {{.Shared}} {{.InUse}} {{.Mode}}"}).out,
            "/root/.cache shared false 0755\n");
  testing::Outcome tar = run({"cache", "export", "/root/.cache", "-"});
  ASSERT_EQ(tar.code, 0) << tar.err;
  testing::Outcome imported = run({"cache", "import", "--mode", "0700", "new", "-"}, tar.out);
  ASSERT_EQ(imported.code, 0) << imported.err;
  EXPECT_EQ(run({"cache", "export", "new", path("new.tar")}).code, 0);
  EXPECT_EQ(*read_file(path("new.tar")), tar.out);
  EXPECT_EQ(run({"cache", "import", "--mode", "9", "new", "-"}, tar.out).code, 1);
  EXPECT_EQ(run({"cache", "import", "new", "-"}, "junk").code, 1);
  EXPECT_EQ(run({"cache", "prune"}, "n\n").out.find("Total"), std::string::npos);
  EXPECT_NE(run({"cache", "prune", "-f", "--id", "new"}).out.find("  new\n"), std::string::npos);
  EXPECT_EQ(run({"cache", "prune", "-f", "--max-size", "10x"}).code, 125);
  EXPECT_EQ(run({"cache", "prune", "-f", "--unused-for", "-1h"}).code, 125);
  EXPECT_EQ(run({"cache", "prune", "-fa", "--id", "new"}).code, 1);
  EXPECT_EQ(run({"cache", "ls", "--format", "{{.ID}}"}).out, "/root/.cache\n");
  EXPECT_EQ(run({"cache", "prune", "-f", "--max-size", "1GB"}).out, "Total reclaimed space: 0B\n");
  EXPECT_EQ(run({"cache", "prune", "-fa"}).code, 0);
  EXPECT_EQ(run({"cache", "ls", "-q"}).out, "");
}

TEST_F(Caches, WhyRebuilt) {
  std::string id = make_build("docker.io/library/app:latest");
  make_build("docker.io/library/other:1");
  testing::Outcome shown = run({"why-rebuilt", "app"});
  EXPECT_EQ(shown.out, "Build " + id +
                           " of app:latest: succeeded About a minute ago in 1m05s, 1 of 2 steps "
                           "ran\nImage " +
                           sha256("docker.io/library/app:latest").str() +
                           "\n\n"
                           "CACHED [1/2] COPY . .\n"
                           "RAN    [2/2] RUN make \\x1b[31m  1.5s\n"
                           "       because: variable A changed from 1 to 2\n"
                           "                the files of the step before it changed\n"
                           "       parent: " +
                           sha256("p").hex().substr(0, 12) +
                           "\n"
                           "       command: make\n"
                           "       variables: A, PATH\n");
  EXPECT_NE(run({"why-rebuilt", "--verbose", "app"}).out.find("env PATH: /bin"), std::string::npos);
  EXPECT_EQ(run({"why-rebuilt", id}).out, shown.out);
  EXPECT_NE(run({"why-rebuilt"}).out.find("other:1"), std::string::npos);
  testing::Outcome json = run({"why-rebuilt", "--format", "json", id});
  EXPECT_NE(json.out.find("\"cached\":true"), std::string::npos);
  EXPECT_NE(json.out.find("{\"name\":\"env A\",\"value\":\"2\"}"), std::string::npos);
  EXPECT_EQ(run({"why-rebuilt", "nothing"}).code, 1);
  EXPECT_EQ(run({"why-rebuilt", "--format", "xml"}).code, 1);
}

TEST_F(Caches, BuildsAndLogs) {
  std::string id = make_build("docker.io/library/app:latest", "made\x1b[0m\n");
  EXPECT_EQ(run({"builds", "ls", "--format", "{{.ID}} {{.Tags}} {{.Steps}} {{.Status}}"}).out,
            id + " app:latest 1/2 succeeded\n");
  EXPECT_EQ(run({"builds", "ls", "-q", "-n", "0"}).out, "");
  EXPECT_EQ(run({"logs", "app", "2"}).out, "made\x1b[0m\n");
  EXPECT_EQ(run({"logs", id, "RUN make"}).out, "made\x1b[0m\n");
  EXPECT_EQ(run({"logs", "2"}).out, "made\x1b[0m\n");
  EXPECT_EQ(run({"logs", "--path", "app", "2"}).out,
            path("store") + "/builds/" + id + "/logs/1.log\n");
  EXPECT_NE(run({"logs"}).out.find("  2  RAN    [2/2] RUN make"), std::string::npos);
  EXPECT_EQ(run({"logs", "app", "1"}).code, 1);  // it was cached
  EXPECT_EQ(run({"logs", "app", "3"}).code, 1);
  EXPECT_EQ(run({"logs", "app", "2]"}).code, 1);
  ASSERT_TRUE(replace_file(path("store") + "/builds/" + id + "/record.json", "{"));
  testing::Outcome damaged = run({"builds", "ls", "-q"});
  EXPECT_EQ(damaged.out, "");
  EXPECT_NE(damaged.err.find("WARNING: ignoring the record of build " + id), std::string::npos);
}

TEST_F(Caches, TagsOfSeveralPlatforms) {
  const std::string a = import("one", "a"), b = import("two", "b");
  auto tag = [&] {
    ASSERT_TRUE(open()->tag_platforms(
        "docker.io/library/multi:1",
        {{"linux/amd64", *Sha256Digest::parse(a)}, {"linux/arm64", *Sha256Digest::parse(b)}}));
  };
  tag();
  EXPECT_EQ(run({"rmi", "multi:1"}).code, 0);
  EXPECT_EQ(run({"images", "-q", "--no-trunc", "multi"}).out, "");
  tag();
  EXPECT_EQ(run({"rmi", "one", "two"}).code, 0);
  testing::Outcome removed = run({"rmi", "multi:1"});
  EXPECT_EQ(removed.code, 0) << removed.err;
  EXPECT_EQ(run({"images", "-aq"}).out, "");
  import("one", "a");
  import("two", "b");
  tag();
  EXPECT_EQ(run({"image", "prune", "-af"}).code, 0);
  EXPECT_EQ(run({"images", "-aq"}).out, "");
  import("one", "a");
  import("two", "b");
  tag();
  EXPECT_EQ(run({"rmi", "-f", a}).code, 0);
  EXPECT_NE(run({"images", "-q", "--no-trunc", "multi"}).out.find(b), std::string::npos);
}

}  // namespace
}  // namespace kasane::cli
