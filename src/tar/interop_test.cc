// Other tools as oracles: GNU tar makes what we read and reads what we write; Python's
// tarfile is the second opinion. Skipped, visibly, where a tool is missing.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <map>

#include "base/process.h"
#include "tar/testing.h"
#include "tar/writer.h"

namespace kasane::tar {
namespace {

using namespace testing;

bool have(const std::string& tool) {
  Result<ProcessOutput> run = run_process({tool, "--version"});
  return run && run->exit_status == 0;
}

std::string run_ok(const std::vector<std::string>& argv) {
  Result<ProcessOutput> run = run_process(argv, 64u << 20);
  if (!run) return "error: " + run.error().full_message();
  EXPECT_EQ(run->exit_status, 0) << argv[0] << ": " << run->err;
  return run->out;
}

class InteropTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!have("tar")) GTEST_SKIP() << "GNU tar is not installed";
  }
  std::string at(const std::string& name) const { return dir_.path() + "/" + name; }

  // Names, links and sparse content of all sorts, as the formats allow.
  void make_tree(bool long_names) {
    const std::string deep = "d/" + std::string(60, 'e') + "/" + std::string(60, 'f');
    ASSERT_TRUE(make_directories(at("t/" + deep)));
    ASSERT_TRUE(replace_file(at("t/plain"), "content\n", 0640));
    ASSERT_TRUE(replace_file(at("t/empty"), ""));
    ASSERT_TRUE(replace_file(at("t/big"), std::string(300'001, 'x'), 04755));
    ASSERT_TRUE(replace_file(at("t/with space\xc3\xa9"), "s"));
    ASSERT_EQ(::symlink("../nowhere", at("t/link").c_str()), 0);
    ASSERT_EQ(::link(at("t/plain").c_str(), at("t/second").c_str()), 0);
    ASSERT_EQ(::mkfifo(at("t/fifo").c_str(), 0600), 0);
    ASSERT_TRUE(
        replace_file(at("t/" + deep + "/" + std::string(long_names ? 200 : 20, 'g')), "deep"));
    if (long_names) {
      ASSERT_EQ(::symlink(std::string(150, 'l').c_str(), at("t/longlink").c_str()), 0);
    }
    const timespec times[2] = {{1234567890, 123456789}, {1234567890, 123456789}};
    ASSERT_EQ(::utimensat(AT_FDCWD, at("t/plain").c_str(), times, 0), 0);
  }

  void make_sparse(const std::string& path) {
    UniqueFd fd = open_file(path, O_WRONLY | O_CREAT | O_TRUNC, 0644).take();
    ASSERT_EQ(::ftruncate(fd.get(), 5'000'000), 0);
    for (int i = 0; i < 30; ++i) {
      const std::string text = "block " + std::to_string(i);
      ASSERT_EQ(::pwrite(fd.get(), text.data(), text.size(), 4096 + i * 131072),
                static_cast<ssize_t>(text.size()));
    }
  }

  std::vector<ReadMember> read_archive(const std::string& path) {
    const std::string bytes = read_file(path).take();
    Result<std::vector<ReadMember>> members = read_all(bytes);
    EXPECT_TRUE(members) << members.error().full_message();
    return members ? std::move(*members) : std::vector<ReadMember>();
  }

  // Compares each member with what lies on disk below `root`.
  void expect_like_disk(const std::vector<ReadMember>& members, const std::string& root) {
    for (const ReadMember& m : members) {
      const Entry& entry = m.member.entry;
      struct stat st;
      ASSERT_EQ(::lstat((root + "/" + entry.path).c_str(), &st), 0) << entry.path;
      if (entry.type == EntryType::kHardlink) continue;
      EXPECT_EQ(entry.mode, st.st_mode & 07777) << entry.path;
      EXPECT_EQ(entry.uid, st.st_uid) << entry.path;
      EXPECT_EQ(entry.mtime.sec, st.st_mtim.tv_sec) << entry.path;
      if (entry.type == EntryType::kFile) {
        EXPECT_EQ(entry.size, static_cast<uint64_t>(st.st_size)) << entry.path;
        EXPECT_TRUE(m.content == read_file(root + "/" + entry.path).value()) << entry.path;
      }
      if (entry.type == EntryType::kSymlink) {
        char target[4096] = {};
        ASSERT_GT(::readlink((root + "/" + entry.path).c_str(), target, sizeof target - 1), 0);
        EXPECT_EQ(entry.link_target, target);
      }
    }
  }

  TempDir dir_ = TempDir::make("kasane-tar-test").take();
};

std::string strip(std::string name) {
  if (name.starts_with("./")) name.erase(0, 2);
  while (name.ends_with('/')) name.pop_back();
  return name == "." ? "" : name;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t at = 0, end; (end = text.find('\n', at)) != std::string::npos; at = end + 1)
    lines.push_back(text.substr(at, end - at));
  return lines;
}

// Our member list is GNU tar's and Python's.
void expect_same_list(const std::vector<ReadMember>& members, const std::string& archive) {
  std::vector<std::string> ours;
  for (const ReadMember& m : members) ours.push_back(m.member.entry.path);
  std::vector<std::string> gnu;
  for (const std::string& line :
       lines_of(run_ok({"tar", "tf", archive, "--quoting-style=literal"})))
    gnu.push_back(strip(line));
  EXPECT_EQ(ours, gnu);
  static const bool python_found = have("python3");
  if (!python_found) return;
  std::vector<std::string> python;
  for (const std::string& line : lines_of(
           run_ok({"python3", "-S", "-X", "utf8", "-c",
                   "import tarfile,sys\n"
                   "for m in tarfile.open(sys.argv[1],errors='surrogateescape'):\n"
                   "    sys.stdout.buffer.write(m.name.encode('utf-8','surrogateescape')+b'\\n')",
                   archive})))
    python.push_back(strip(line));
  EXPECT_EQ(ours, python);
}

TEST_F(InteropTest, ReadsEveryFormatOfGnuTar) {
  make_tree(true);
  for (const char* format : {"gnu", "oldgnu", "pax", "posix"}) {
    const std::string archive = at(std::string("x.") + format);
    run_ok({"tar", "--sort=name", std::string("--format=") + format, "-cf", archive, "-C", at("t"),
            "."});
    const auto members = read_archive(archive);
    EXPECT_EQ(members.size(), 13u) << format;
    expect_same_list(members, archive);
    expect_like_disk(members, at("t"));
    for (const ReadMember& m : members)
      if (m.member.entry.path == "plain" && std::string(format) == "pax") {
        EXPECT_EQ(m.member.entry.mtime.nsec, 123456789u);
      }
  }
}

TEST_F(InteropTest, ReadsUstarAndV7) {
  make_tree(false);
  for (const char* format : {"ustar", "v7"}) {
    const std::string archive = at(std::string("x.") + format);
    std::vector<std::string> argv = {
        "tar", "--sort=name", std::string("--format=") + format, "-cf", archive, "-C", at("t")};
    // v7 has neither FIFOs nor prefixes.
    for (const char* name : {"plain", "empty", "big", "link", "second"}) argv.push_back(name);
    if (std::string(format) == "ustar") argv.push_back("d"), argv.push_back("fifo");
    run_ok(argv);
    const auto members = read_archive(archive);
    EXPECT_EQ(members.size(), std::string(format) == "v7" ? 5u : 10u);
    expect_same_list(members, archive);
    expect_like_disk(members, at("t"));
  }
}

TEST_F(InteropTest, ReadsEverySparseFormat) {
  ASSERT_TRUE(make_directories(at("t")));
  make_sparse(at("t/sparse"));
  ASSERT_TRUE(replace_file(at("t/zz"), "after"));
  const std::vector<std::string> formats[] = {{"--format=gnu"},
                                              {"--format=pax", "--sparse-version=0.0"},
                                              {"--format=pax", "--sparse-version=0.1"},
                                              {"--format=pax", "--sparse-version=1.0"}};
  for (const std::vector<std::string>& format : formats) {
    std::vector<std::string> argv = {"tar", "-S", "--sort=name"};
    argv.insert(argv.end(), format.begin(), format.end());
    argv.insert(argv.end(), {"-cf", at("x.tar"), "-C", at("t"), "sparse", "zz"});
    run_ok(argv);
    const auto members = read_archive(at("x.tar"));
    ASSERT_EQ(members.size(), 2u) << format.back();
    EXPECT_TRUE(members[0].member.sparse);
    EXPECT_GT(members[0].member.regions.size(), 20u);
    EXPECT_LT(members[0].member.raw_size, 1'000'000u);
    expect_same_list(members, at("x.tar"));
    expect_like_disk(members, at("t"));
  }
}

TEST_F(InteropTest, ReadsXattrsOfGnuTar) {
  ASSERT_TRUE(make_directories(at("t")));
  ASSERT_TRUE(replace_file(at("t/f"), "x"));
  const char value[] = {'a', '\0', '\n'};
  for (const char* name : {"user.plain", "user.a=b", "user.100%"})
    if (::setxattr(at("t/f").c_str(), name, value, sizeof value, 0) != 0)
      GTEST_SKIP() << "no user xattrs on this file system";
  run_ok({"tar", "--xattrs", "--xattrs-include=user.*", "-cf", at("x.tar"), "-C", at("t"), "f"});
  const auto members = read_archive(at("x.tar"));
  ASSERT_EQ(members.size(), 1u);
  const std::string text(value, sizeof value);
  EXPECT_EQ(members[0].member.entry.xattrs,
            (std::vector<Xattr>{{"user.100%", text}, {"user.a=b", text}, {"user.plain", text}}));
}

// Writes what `members` say with our writer, in canonical order.
std::string rewrite(std::vector<ReadMember> members) {
  std::map<std::string, const ReadMember*, decltype([](const std::string& a, const std::string& b) {
             return compare_paths(a, b) < 0;
           })>
      sorted;
  for (const ReadMember& m : members) sorted[m.member.entry.path] = &m;
  StringSink sink;
  Writer writer(sink);
  for (const auto& [path, m] : sorted) {
    EXPECT_TRUE(writer.begin(m->member.entry));
    EXPECT_TRUE(
        writer.write({reinterpret_cast<const uint8_t*>(m->content.data()), m->content.size()}));
    EXPECT_TRUE(writer.finish_member());
  }
  EXPECT_TRUE(writer.finish());
  return sink.text;
}

TEST_F(InteropTest, GnuTarExtractsWhatWeWrite) {
  make_tree(true);
  ASSERT_TRUE(replace_file(at("t/zz-\xff\x01"), "odd name"));
  ASSERT_TRUE(
      make_directories(at("t/long-" + std::string(150, '\xe9') + "/" + std::string(150, 'd'))));
  make_sparse(at("t/sparse"));
  const timespec before_epoch[2] = {{-2, 500'000'000}, {-2, 500'000'000}};
  ASSERT_EQ(::utimensat(AT_FDCWD, at("t/empty").c_str(), before_epoch, 0), 0);
  run_ok({"tar", "--sort=name", "--format=pax", "-cf", at("x.tar"), "-C", at("t"), "."});
  const std::string ours = rewrite(read_archive(at("x.tar")));
  ASSERT_TRUE(replace_file(at("ours.tar"), ours));
  const auto members = read_archive(at("ours.tar"));
  expect_same_list(members, at("ours.tar"));
  ASSERT_TRUE(make_directories(at("out")));
  run_ok({"tar", "-xpf", at("ours.tar"), "-C", at("out")});
  expect_like_disk(members, at("out"));
  run_ok({"diff", "-r", "--no-dereference", "--exclude=fifo", at("t"), at("out")});
  struct stat st;
  ASSERT_EQ(::stat(at("out/empty").c_str(), &st), 0);
  EXPECT_EQ(st.st_mtim.tv_sec, -2);
  EXPECT_EQ(st.st_mtim.tv_nsec, 500'000'000);
  ASSERT_EQ(::stat(at("out/plain").c_str(), &st), 0);
  EXPECT_EQ(st.st_nlink, 2u);
  EXPECT_EQ(st.st_mtim.tv_nsec, 123456789);
}

// The strict choices hold against real archives: what GNU tar accepts without a word is
// either read alike or refused, never read differently.
TEST_F(InteropTest, NeverAnotherListThanGnuTar) {
  const std::string x = pax(record("path", "from-pax"));
  const std::string l =
      raw({.name = "L", .type = 'L', .data = std::string("from-L\0", 7), .gnu = true});
  const std::string archives[] = {
      x + x + file("a"),
      x + l + file("a"),
      l + x + file("a"),
      l + l + file("a"),
      pax(record("path", "g"), 'g') + file("a") + file("b"),
      pax(record("size", "512")) + raw({.name = "a", .data = file("hidden"), .size = 0}),
      pax(record("size", "0")) + raw({.name = "a", .data = file("hidden")}),
      raw({.name = "d", .type = '5', .size = 512}) + file("b"),
      raw({.name = "l", .type = '2', .link = "t", .size = 512}) + file("b") + file("c"),
      raw({.name = "p", .type = '6', .size = 512}) + file("b") + file("c"),
      file("a") + raw({.name = "h", .type = '1', .link = "a", .size = 512}) + file("b"),
      raw({.name = "v", .type = '\0', .data = "abc", .v7 = true}) + file("b"),
      raw({.name = "v/", .type = '\0', .v7 = true}) + file("b"),
      file("a/") + file("b"),
      file("./a") + file("a") + file("b//c"),
      raw({.name = "n", .prefix = "p", .gnu = true}) + file("b"),
      raw({.name = "n", .prefix = "p"}) + file("b"),
      file("a") + std::string(512, '\0') + file("b"),
      file("a") + end_mark() + file("b"),
      raw({.name = "s", .type = '7', .data = "abc"}) + file("b"),
  };
  int accepted = 0;
  for (const std::string& archive : archives) {
    Result<std::vector<ReadMember>> members = read_all(archive + end_mark());
    if (!members) continue;
    ++accepted;
    ASSERT_TRUE(replace_file(at("x.tar"), archive + end_mark()));
    std::vector<std::string> ours, gnu;
    for (const ReadMember& m : *members) ours.push_back(m.member.entry.path);
    for (std::string line : lines_of(run_ok({"tar", "tf", at("x.tar")}))) {
      while (line.find("//") != std::string::npos) line.erase(line.find("//"), 1);
      gnu.push_back(strip(line));
    }
    EXPECT_EQ(ours, gnu);
  }
  EXPECT_EQ(accepted, 8);
}

}  // namespace
}  // namespace kasane::tar
