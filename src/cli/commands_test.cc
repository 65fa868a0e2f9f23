// Commands on a real store, words for words.
#include <algorithm>

#include "cli/testing.h"

namespace kasane::cli {
namespace {

using testing::Outcome;

class CommandsTest : public testing::CliTest {
 protected:
  static constexpr int64_t kHour = 3'600'000'000'000;
  static std::string short_id(const std::string& id) { return id.substr(7, 12); }
};

TEST_F(CommandsTest, EmptyStore) {
  EXPECT_EQ(run({"images"}).out, "REPOSITORY   TAG       IMAGE ID   CREATED   SIZE\n");
  EXPECT_EQ(run({"images", "-q"}).out, "");
  EXPECT_EQ(run({"images", "ls"}).err,
            "\nNo images found matching \"ls\": did you mean \"kasane image ls\"?\n");
  Outcome check = run({"store", "check"});
  EXPECT_EQ(check.code, 0) << check.err;
  EXPECT_EQ(check.out, "");
}

TEST_F(CommandsTest, ImagesTable) {
  const std::string old_id = import("app:1", "hello");
  now_ns_ += kHour;
  const std::string new_id = import("app:2", std::string(1234, 'x'));
  run({"tag", "app:2", "reg.example.com:5000/team/app:prod"});
  now_ns_ += 2 * kHour;
  EXPECT_EQ(run({"images"}).out,
            "REPOSITORY                      TAG       IMAGE ID       CREATED       SIZE\n"
            "app                             2         " +
                short_id(new_id) +
                "   2 hours ago   1.23kB\n"
                "reg.example.com:5000/team/app   prod      " +
                short_id(new_id) +
                "   2 hours ago   1.23kB\n"
                "app                             1         " +
                short_id(old_id) + "   3 hours ago   5B\n");
  EXPECT_EQ(run({"images", "-q", "--no-trunc"}).out, new_id + "\n" + new_id + "\n" + old_id + "\n");
  EXPECT_EQ(run({"images", "app:1", "-q"}).out, short_id(old_id) + "\n");
  EXPECT_EQ(run({"image", "list", "-f", "reference=*/*/app", "--format", "{{.Tag}}"}).out,
            "prod\n");
  EXPECT_EQ(run({"images", "--format", "{{.Repository}}:{{.Tag}}\\t{{.Size}}", "app"}).out,
            "app:2\t1.23kB\napp:1\t5B\n");
  EXPECT_EQ(run({"images", "--format", "table {{.Repository}}:{{.Tag}}\\t{{.ID}}", "app:1"}).out,
            "REPOSITORY:TAG   IMAGE ID\napp:1            " + short_id(old_id) + "\n");
  EXPECT_EQ(run({"images", "--format", "json", "app:1"}).out,
            "{\"Containers\":\"N/A\",\"CreatedAt\":\"2024-01-01 00:00:00 +0000 "
            "UTC\",\"CreatedSince\":\"3 hours "
            "ago\",\"Digest\":\"\\u003cnone\\u003e\",\"ID\":\"" +
                short_id(old_id) +
                "\",\"Repository\":\"app\",\"SharedSize\":\"N/"
                "A\",\"Size\":\"5B\",\"Tag\":\"1\",\"UniqueSize\":"
                "\"N/A\",\"VirtualSize\":\"5B\"}\n");
  EXPECT_EQ(run({"images", "--format", "raw", "app:1"}).out,
            "repository: app\ntag: 1\nimage_id: " + short_id(old_id) +
                "\ncreated_at: 2024-01-01 00:00:00 +0000 UTC\nvirtual_size: 5B\n\n");
  EXPECT_NE(run({"images", "--digests"}).out.find("DIGEST"), std::string::npos);
}

TEST_F(CommandsTest, ImagesFilters) {
  import("a:1", "a", {"-c", "LABEL team=x"});
  now_ns_ += kHour;
  import("b:1", "b");
  now_ns_ += kHour;
  const std::string dangling = import("", "c");
  auto tags = [&](std::vector<std::string> filters) {
    std::vector<std::string> words = {"images", "--format", "{{.Repository}}"};
    for (std::string& filter : filters) words.insert(words.end(), {"-f", filter});
    return run(words).out;
  };
  EXPECT_EQ(tags({"dangling=true"}), "<none>\n");
  EXPECT_EQ(tags({"dangling=false"}), "b\na\n");
  EXPECT_EQ(tags({"label=team"}), "a\n");
  EXPECT_EQ(tags({"label=team=y"}), "");
  EXPECT_EQ(tags({"label!=team"}), "<none>\nb\n");
  EXPECT_EQ(tags({"before=b:1"}), "a\n");
  EXPECT_EQ(tags({"since=a:1"}), "<none>\nb\n");
  EXPECT_EQ(tags({"until=30m"}), "b\na\n");
  Outcome bad = run({"images", "-f", "nope=1"});
  EXPECT_EQ(bad.code, 1);
  EXPECT_EQ(bad.err, "Error: invalid filter 'nope'\n");
  EXPECT_EQ(run({"images", "-f", "nope"}).code, 125);
  EXPECT_TRUE(
      run({"images", "-f", "since=zzz"}).err.starts_with("Error: No such image: zzz:latest\n"));
}

TEST_F(CommandsTest, TemplateErrorsOfLists) {
  import("a", "a");
  Outcome outcome = run({"images", "--format", "{{.Nope}}"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_EQ(outcome.out, "");
  EXPECT_EQ(outcome.err,
            "template parsing error: template: :1:2: executing \"\" at <.Nope>: can't "
            "evaluate field "
            "Nope in type *formatter.imageContext\n");
  EXPECT_TRUE(run({"history", "--format", "{{.Nope}}", "a"})
                  .err.ends_with("in type *image.historyContext\n"));
}

TEST_F(CommandsTest, TagErrors) {
  import("a", "a");
  EXPECT_EQ(run({"tag", "a", "b:1"}).out, "");
  EXPECT_TRUE(run({"tag", "nope", "b"}).err.starts_with("Error: No such image: nope:latest\n"));
  Outcome bad = run({"tag", "a", "x:y:z"});
  EXPECT_EQ(bad.code, 1);
  EXPECT_EQ(bad.err,
            "Error parsing reference: \"x:y:z\" is not a valid repository/tag: invalid reference "
            "format\n");
  EXPECT_TRUE(run({"tag", "a", "b@sha256:" + std::string(64, '0')})
                  .err.starts_with("refusing to create a tag with a digest reference"));
}

TEST_F(CommandsTest, History) {
  const std::string id = import("app", "hello", {"-m", "first"});
  now_ns_ += 3 * kHour;
  EXPECT_EQ(run({"history", "app"}).out,
            "IMAGE          CREATED       CREATED BY   SIZE      COMMENT\n" + short_id(id) +
                "   3 hours ago                5B        first\n");
  EXPECT_EQ(run({"history", "-H=false", "--no-trunc", "--format",
                 "{{.ID}} {{.CreatedSince}} {{.Size}}", "app"})
                .out,
            id + " 2024-01-01T00:00:00Z 5\n");
  EXPECT_EQ(run({"history", "-q", "app"}).out, short_id(id) + "\n");
  EXPECT_EQ(run({"history", "--format", "json", "app"}).out,
            "{\"Comment\":\"first\",\"CreatedAt\":\"2024-01-01T00:00:00Z\",\"CreatedBy\":\"\","
            "\"CreatedSince\":\"3 "
            "hours ago\",\"ID\":\"" +
                short_id(id) + "\",\"Size\":\"5B\"}\n");
}

TEST_F(CommandsTest, Inspect) {
  const std::string id = import("app:1", "hello", {"-c", "ENV A=1 B=2", "-c", "CMD [\"sh\"]"});
  const std::string out = run({"image", "inspect", "app:1"}).out;
  EXPECT_TRUE(out.starts_with("[\n    {\n        \"Id\": \"" + id +
                              "\",\n        \"RepoTags\": [\n            \"app:1\"\n        ],\n"
                              "        \"RepoDigests\": [],\n        \"Parent\": \"\",\n"))
      << out;
  EXPECT_NE(out.find("        \"Config\": {\n            \"Cmd\": [\n                \"sh\"\n      "
                     "      ],\n            \"Entrypoint\": null,\n"),
            std::string::npos)
      << out;
  EXPECT_TRUE(out.ends_with("\n    }\n]\n")) << out;
  EXPECT_EQ(run({"inspect", "-f", "{{.Id}} {{.Config.Env}}", "app:1"}).out, id + " [A=1 B=2]\n");
  EXPECT_EQ(run({"inspect", "-f",
                 "{{.ID}} {{join .Config.Cmd \",\"}} {{len .RootFS.Layers}} {{.Size}}", "app:1"})
                .out,
            id + " sh 1 5\n");
  EXPECT_TRUE(run({"inspect", "-f", "json", "app:1"})
                  .out.starts_with("[{\"Id\":\"" + id + "\",\"RepoTags\":[\"app:1\"],"));
  Outcome missing = run({"inspect", "nope", "app:1", "-f", "{{.Os}}"});
  EXPECT_EQ(missing.code, 1);
  EXPECT_EQ(missing.out, "linux\n");
  EXPECT_EQ(missing.err, "Error: No such object: nope\n");
  missing = run({"image", "inspect", "nope"});
  EXPECT_EQ(missing.out, "[]\n");
  EXPECT_EQ(missing.err, "Error: No such image: nope:latest\n");
  EXPECT_EQ(run({"image", "inspect", "-f", "{{", "app:1"}).code, 64);
  EXPECT_EQ(run({"image", "inspect", "-f", "{{.Nope}}", "app:1"}).out, "\n");
}

TEST_F(CommandsTest, RemoveByNameAndId) {
  const std::string id = import("app:1", "hello");
  run({"tag", "app:1", "app:2"});
  run({"tag", "app:1", "other:1"});
  EXPECT_EQ(run({"rmi", "app:2"}).out, "Untagged: app:2\n");
  Outcome conflict = run({"rmi", short_id(id)});
  EXPECT_EQ(conflict.code, 1);
  EXPECT_EQ(conflict.err, "Error: conflict: unable to delete " + short_id(id) +
                              " (must be forced) - image is referenced in multiple repositories\n");
  Outcome forced = run({"rmi", "-f", short_id(id)});
  EXPECT_EQ(forced.code, 0) << forced.err;
  EXPECT_TRUE(forced.out.starts_with("Untagged: app:1\nUntagged: other:1\nDeleted: " + id +
                                     "\nDeleted: sha256:"))
      << forced.out;
  EXPECT_EQ(run({"images", "-q"}).out, "");
  Outcome missing = run({"rmi", "app:1"});
  EXPECT_EQ(missing.code, 1);
  EXPECT_EQ(missing.err, "Error: No such image: app:1\n");
  missing = run({"image", "rm", "-f", "app:1"});
  EXPECT_EQ(missing.code, 0);
  EXPECT_EQ(missing.err, "Error: No such image: app:1\n");
}

TEST_F(CommandsTest, LastNameDeletesTheImage) {
  const std::string id = import("app:1", "hello");
  Outcome outcome = run({"rmi", "app:1", "nope"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_TRUE(outcome.out.starts_with("Untagged: app:1\nDeleted: " + id + "\n")) << outcome.out;
  EXPECT_EQ(outcome.err, "Error: No such image: nope:latest\n");
}

TEST_F(CommandsTest, Prune) {
  const std::string dangling = import("", "dangling");
  import("keep:1", "keep");
  Outcome asked = run({"image", "prune"}, "n\n");
  EXPECT_EQ(asked.code, 0);
  EXPECT_EQ(
      asked.out,
      "WARNING! This will remove all dangling images.\nAre you sure you want to continue? [y/N] ");
  Outcome done = run({"image", "prune"}, "y\n");
  EXPECT_NE(done.out.find("Deleted Images:\ndeleted: " + dangling + "\ndeleted: sha256:"),
            std::string::npos)
      << done.out;
  EXPECT_NE(done.out.find("\n\nTotal reclaimed space: "), std::string::npos) << done.out;
  EXPECT_EQ(run({"image", "prune", "-f"}).out, "Total reclaimed space: 0B\n");
  EXPECT_EQ(run({"image", "prune", "-af", "--filter", "until=1h"}).out,
            "Total reclaimed space: 0B\n");
  EXPECT_TRUE(run({"image", "prune", "-af"})
                  .out.starts_with("Deleted Images:\nuntagged: keep:1\ndeleted: "));
}

TEST_F(CommandsTest, SaveAndLoad) {
  const std::string id = import("app:1", "hello");
  run({"tag", "app:1", "app:2"});
  const std::string archive = path("app.tar");
  Outcome saved = run({"save", "-o", archive, "app"});
  ASSERT_EQ(saved.code, 0) << saved.err;
  struct stat st;
  ASSERT_EQ(stat(archive.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0600u);
  EXPECT_EQ(run({"save", "app"}).out, *read_file(archive));
  run({"rmi", "-f", id});
  EXPECT_EQ(run({"load", "-i", archive}).out, "Loaded image: app:1\nLoaded image: app:2\n");
  EXPECT_EQ(run({"images", "-q", "--no-trunc", "app:1"}).out, id + "\n");
  const std::string by_id = run({"save", id}).out;
  EXPECT_EQ(run({"load", "-q"}, by_id).out, "Loaded image ID: " + id + "\n");
  import("app:1", "other");
  EXPECT_TRUE(
      run({"load", "-i", archive})
          .out.starts_with("The image app:1 already exists, renaming the old one with ID sha256:"));
}

TEST_F(CommandsTest, SaveErrors) {
  const std::string target = path("x.tar");
  EXPECT_TRUE(
      run({"save", "-o", target, "nope"}).err.starts_with("Error: No such image: nope:latest\n"));
  EXPECT_NE(access(target.c_str(), F_OK), 0);
  EXPECT_EQ(run({"save", "-o", directory_->path(), "nope"}).code, 1);
  import("a", "a");
  out_is_terminal_ = true;
  Outcome refused = run({"save", "a"});
  EXPECT_EQ(refused.code, 1);
  EXPECT_EQ(refused.err, "cowardly refusing to save to a terminal. Use the -o flag or redirect\n");
  out_is_terminal_ = false;
  EXPECT_EQ(run({"save", "-o", path("no/such/dir.tar"), "a"}).code, 1);
  EXPECT_EQ(run({"load"}, "not a tar").code, 1);
  EXPECT_EQ(run({"load", "-i", path("missing")}).code, 1);
}

TEST_F(CommandsTest, ImportChanges) {
  import("a", "a",
         {"--change", "ENTRYPOINT [\"/x\"]", "-c", "USER node", "-c", "EXPOSE 80", "-c",
          "WORKDIR /srv"});
  EXPECT_EQ(run({"inspect", "-f",
                 "{{.Config.Entrypoint}} {{.Config.User}} {{.Config.ExposedPorts}} "
                 "{{.Config.WorkingDir}}",
                 "a"})
                .out,
            "[/x] node map[80/tcp:{}] /srv\n");
  Outcome bad = run({"import", "-c", "RUN x", "-"}, testing::small_tar({{"f", "x"}}));
  EXPECT_EQ(bad.code, 1);
  EXPECT_NE(bad.err.find("Error: RUN is not a valid change command\n"), std::string::npos)
      << bad.err;
  EXPECT_EQ(run({"import", "-", "a:b:c"}).code, 1);
  EXPECT_EQ(run({"import", path("missing")}).code, 1);
}

TEST_F(CommandsTest, StoreCheckNamesDamage) {
  const std::string id = import("a", "hello");
  const std::string blob = path("store/blobs/sha256/" + id.substr(7));
  chmod(blob.c_str(), 0600);
  ASSERT_TRUE(replace_file(blob, "{}"));
  Outcome outcome = run({"store", "check"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_NE(outcome.out.find(id), std::string::npos) << outcome.out;
  outcome = run({"store", "check", "--format", "json"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_TRUE(outcome.out.starts_with("{\"damaged\":[{\"kind\":")) << outcome.out;
  EXPECT_EQ(run({"store", "check", "--format", "xml"}).code, 1);
}

TEST_F(CommandsTest, SweepInfoAndBuilderPrune) {
  EXPECT_EQ(run({"store", "sweep"}).code, 0);
  EXPECT_TRUE(run({"builder", "prune", "-f"}).out.starts_with("Total reclaimed space: "));
  EXPECT_EQ(run({"info", "-f", "{{.DockerRootDir}}"}).out, path("store") + "\n");
  EXPECT_EQ(run({"info", "-f", "{{.Images}}"}).out, "0\n");
  EXPECT_TRUE(run({"info"}).out.starts_with("kasane:\n Version: "));
}

TEST_F(CommandsTest, TablesCannotBeBrokenByImages) {
  import("a", "a", {"-m", "x\x1b[2J\ty"});
  const std::string out = run({"history", "a"}).out;
  EXPECT_EQ(out.find('\x1b'), std::string::npos);
  EXPECT_NE(out.find("x\\x1b[2J"), std::string::npos) << out;
}

TEST_F(CommandsTest, BuildErrorsBeforeBuilding) {
  Outcome outcome = run({"build", path("missing")});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_TRUE(outcome.err.starts_with("ERROR: unable to prepare context: path \"" +
                                      path("missing") + "\" not found\n"))
      << outcome.err;
  EXPECT_TRUE(
      run({"build", "-f", "-", "-"}).err.starts_with("ERROR: invalid argument: can't use stdin"));
  EXPECT_TRUE(run({"build", "--network", "bridge", "."})
                  .err.starts_with("ERROR: network mode \"bridge\" not supported"));
  EXPECT_TRUE(
      run({"build", "--progress", "fancy", "."}).err.starts_with("ERROR: invalid progress mode"));
  EXPECT_TRUE(run({"build", "--platform", "linux/a/b/c", "."})
                  .err.starts_with("ERROR: invalid platform \"linux/a/b/c\""));
}

TEST_F(CommandsTest, Build) {
  const std::string context = path("context");
  ASSERT_TRUE(make_directories(context));
  ASSERT_TRUE(replace_file(context + "/Dockerfile",
                           "FROM scratch\nARG V=1\nCOPY file /\nLABEL v=$V\nCMD [\"/file\"]\n"));
  ASSERT_TRUE(replace_file(context + "/file", "hello"));
  Outcome first = run({"build", "-t", "app:1", "--progress", "plain", "--build-arg", "V=2",
                       "--label", "x=y", context});
  ASSERT_EQ(first.code, 0) << first.err;
  EXPECT_NE(first.err.find("COPY file /"), std::string::npos) << first.err;
  EXPECT_NE(first.err.find(" DONE "), std::string::npos) << first.err;
  EXPECT_EQ(run({"inspect", "-f", "{{.Config.Labels}}", "app:1"}).out, "map[v:2 x:y]\n");
  environment_["SOURCE_DATE_EPOCH"] = "1700000000";
  Outcome quiet = run({"build", "-q", "--iidfile", path("iid"), context});
  ASSERT_EQ(quiet.code, 0) << quiet.err;
  EXPECT_EQ(quiet.out.size(), 72u) << quiet.out;
  EXPECT_EQ(*read_file(path("iid")) + "\n", quiet.out);
  EXPECT_EQ(quiet.err, "");
  EXPECT_TRUE(run({"inspect", "-f", "{{.Created}}", quiet.out.substr(0, 71)})
                  .out.starts_with("2023-11-14T22:13:20Z"));
  Outcome explained = run({"build", "--explain", "--progress", "plain", context});
  EXPECT_NE(explained.err.find(" CACHED\n"), std::string::npos) << explained.err;
  EXPECT_NE(explained.out.find("CACHED "), std::string::npos) << explained.out;
}

TEST_F(CommandsTest, BuildFailuresShowTheLine) {
  const std::string context = path("context");
  ASSERT_TRUE(make_directories(context));
  ASSERT_TRUE(replace_file(context + "/Dockerfile", "FROM scratch\nCOPPY a b\n"));
  Outcome outcome = run({"build", "--progress", "plain", context});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_NE(
      outcome.err.find(
          "Dockerfile:2\n--------------------\n   1 |     FROM scratch\n   2 | >>> COPPY a b\n"),
      std::string::npos)
      << outcome.err;
  EXPECT_NE(outcome.err.find("ERROR: failed to solve: "), std::string::npos) << outcome.err;
  EXPECT_NE(outcome.err.find("did you mean COPY?"), std::string::npos) << outcome.err;
}

}  // namespace
}  // namespace kasane::cli
