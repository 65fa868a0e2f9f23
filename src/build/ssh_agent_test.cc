#include "build/ssh_agent.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <mutex>

namespace kasane::build {
namespace {

UniqueFd connect_to(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return {};
  return fd;
}

std::string message(const std::string& body) {
  std::string text(4, '\0');
  for (int i = 0; i < 4; ++i) text[static_cast<size_t>(i)] = static_cast<char>(body.size() >> (24 - 8 * i));
  return text + body;
}

// The body of one message, or "" when the other side closed.
std::string receive(int fd) {
  unsigned char head[4];
  if (::recv(fd, head, 4, MSG_WAITALL) != 4) return {};
  std::string body(size_t{head[2]} << 8 | head[3], '\0');
  return ::recv(fd, body.data(), body.size(), MSG_WAITALL) == static_cast<ssize_t>(body.size()) ? body : "";
}

// An agent that answers every request with its type + 1 and remembers what it was asked.
class FakeAgent {
 public:
  explicit FakeAgent(const std::string& path) : path_(path), listener_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    EXPECT_EQ(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(listener_.get(), 8), 0);
    thread_ = std::thread([this] { serve(); });
  }
  ~FakeAgent() {
    ::shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
    ::unlink(path_.c_str());
  }
  std::string asked() {
    std::lock_guard lock(mutex_);
    return asked_;
  }

 private:
  void serve() {
    for (int fd; (fd = ::accept(listener_.get(), nullptr, nullptr)) >= 0;) {
      UniqueFd client(fd);
      for (std::string body; !(body = receive(fd)).empty();) {
        {
          std::lock_guard lock(mutex_);
          asked_ += body[0];
        }
        std::string reply = message(std::string(1, static_cast<char>(body[0] + 1)));
        (void)::send(fd, reply.data(), reply.size(), MSG_NOSIGNAL);
      }
    }
  }
  std::string path_;
  UniqueFd listener_;
  std::mutex mutex_;
  std::string asked_;
  std::thread thread_;
};

class SshRelayTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char folder[] = "/tmp/kasane-relay-XXXXXX";
    ASSERT_NE(::mkdtemp(folder), nullptr);
    folder_ = folder;
    agent_ = std::make_unique<FakeAgent>(folder_ + "/agent");
    Result<std::unique_ptr<SshRelay>> relay =
        SshRelay::start(folder_ + "/relay", 0640, ::getuid(), ::getgid(), folder_ + "/agent");
    ASSERT_TRUE(relay) << relay.error().full_message();
    relay_ = std::move(*relay);
  }
  void TearDown() override {
    relay_.reset();
    agent_.reset();
    EXPECT_EQ(::rmdir(folder_.c_str()), 0) << "a socket was left";
  }
  std::string ask(int fd, const std::string& body) {
    std::string text = message(body);
    EXPECT_EQ(::send(fd, text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
    return receive(fd);
  }

  std::string folder_;
  std::unique_ptr<FakeAgent> agent_;
  std::unique_ptr<SshRelay> relay_;
};

TEST_F(SshRelayTest, RM5_OnlyListingAndSigningReachTheAgent) {
  UniqueFd client = connect_to(folder_ + "/relay");
  ASSERT_TRUE(client);
  EXPECT_EQ(ask(client.get(), "\x0b"), "\x0c");              // request identities
  EXPECT_EQ(ask(client.get(), std::string("\x0d") + "key"), "\x0e");  // sign
  // Add, remove, remove all, lock, unlock, add constrained, smartcards, extensions.
  for (int type : {17, 18, 19, 20, 21, 22, 23, 25, 26, 27, 1, 9, 0, 255})
    EXPECT_EQ(ask(client.get(), std::string(1, static_cast<char>(type)) + "x"), "\x05") << type;
  EXPECT_EQ(ask(client.get(), "\x0b"), "\x0c");
  EXPECT_EQ(agent_->asked(), "\x0b\x0d\x0b");
}

TEST_F(SshRelayTest, RM5_ModeOfTheSocket) {
  struct stat st;
  ASSERT_EQ(::stat((folder_ + "/relay").c_str(), &st), 0);
  EXPECT_TRUE(S_ISSOCK(st.st_mode));
  EXPECT_EQ(st.st_mode & 07777, 0640u);
}

TEST_F(SshRelayTest, BadMessagesEndTheConnectionOnly) {
  for (const std::string& bytes : {std::string("\0\0\0\0", 4), std::string("\xff\xff\xff\xff\x0b", 5)}) {
    UniqueFd client = connect_to(folder_ + "/relay");
    ASSERT_TRUE(client);
    ASSERT_EQ(::send(client.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
    EXPECT_EQ(receive(client.get()), "");
  }
  UniqueFd client = connect_to(folder_ + "/relay");
  EXPECT_EQ(ask(client.get(), "\x0b"), "\x0c");
}

TEST_F(SshRelayTest, EndsWhileClientsWait) {
  UniqueFd idle = connect_to(folder_ + "/relay");
  UniqueFd half = connect_to(folder_ + "/relay");
  ASSERT_EQ(::send(half.get(), "\0\0", 2, MSG_NOSIGNAL), 2);
  relay_.reset();
  EXPECT_EQ(receive(idle.get()), "");
}

TEST(SshAgents, L11_ArgumentsThatNameNothing) {
  SshAgents agents;
  EXPECT_EQ(agents.add("default", "").error().kind(), ErrorKind::kInvalid);
  EXPECT_EQ(agents.add("=x", "").error().kind(), ErrorKind::kInvalid);
  EXPECT_EQ(agents.add("id=/no/such/socket", "").error().kind(), ErrorKind::kNotFound);
  EXPECT_EQ(agents.find("id"), nullptr);
}

}  // namespace
}  // namespace kasane::build
