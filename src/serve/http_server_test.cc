// The limits of the server against peers that are slow, silent or many.
#include "serve/http_server.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

namespace kasane::serve {
namespace {

using std::chrono::milliseconds;
constexpr size_t kLarge = 32u << 20;  // more than two sockets buffer

class HttpServerTest : public ::testing::Test {
 protected:
  void start(HttpServerOptions options) {
    options.host = "127.0.0.1";
    auto server = HttpServer::listen(options, nullptr, [this](Request& request) {
      Response response;
      if (request.target == "/large") response.body.assign(kLarge, 'x');
      std::vector<uint8_t> buffer(1000);
      for (;;) {
        auto n = request.body->read(buffer);
        if (!n) {
          ++broken_bodies_;
          response.status = 400;
          return response;
        }
        if (*n == 0) break;
        response.body.append(buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(*n));
      }
      return response;
    });
    ASSERT_TRUE(server) << server.error().full_message();
    server_ = std::move(*server);
    thread_ = std::thread([this] { (void)server_->run(stop_.get_token()).has_value(); });
  }
  void TearDown() override {
    stop_.request_stop();
    if (thread_.joinable()) thread_.join();
  }

  UniqueFd connect() {
    UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    std::string url = server_->url();
    address.sin_port = htons(static_cast<uint16_t>(std::stoi(url.substr(url.rfind(':') + 1))));
    EXPECT_EQ(::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    timeval limit{20, 0};
    ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    return fd;
  }
  static void send(const UniqueFd& fd, std::string_view text) {
    (void)!::send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL);
  }
  // What comes until the connection is closed.
  static std::string rest(const UniqueFd& fd) {
    std::string out;
    char buffer[4096];
    for (;;) {
      ssize_t n = ::recv(fd.get(), buffer, sizeof buffer, 0);
      if (n <= 0) return out;
      out.append(buffer, static_cast<size_t>(n));
    }
  }

  std::atomic<int> broken_bodies_{0};
  std::unique_ptr<HttpServer> server_;
  std::stop_source stop_;
  std::thread thread_;
};

int64_t ms_since(Clock::time_point start) {
  return std::chrono::duration_cast<milliseconds>(Clock::now() - start).count();
}

TEST_F(HttpServerTest, AHeaderThatDripsIsRefusedInTime) {
  start({.head_limit = milliseconds(400)});
  UniqueFd fd = connect();
  Clock::time_point begin = Clock::now();
  std::jthread dripping([&](std::stop_token stop) {
    send(fd, "GET / HTTP/1.1\r\n");
    while (!stop.stop_requested()) {
      send(fd, "X: y\r\n");
      std::this_thread::sleep_for(milliseconds(50));
    }
  });
  EXPECT_TRUE(rest(fd).starts_with("HTTP/1.1 408 "));
  EXPECT_LT(ms_since(begin), 4000);
}

TEST_F(HttpServerTest, ASilentConnectionIsClosed) {
  start({.idle_limit = milliseconds(300)});
  UniqueFd fd = connect();
  EXPECT_EQ(rest(fd), "");
  UniqueFd after_one = connect();
  send(after_one, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_TRUE(rest(after_one).starts_with("HTTP/1.1 200 "));
}

TEST_F(HttpServerTest, ABodyThatStopsIsCut) {
  start({.stall_limit = milliseconds(300)});
  UniqueFd fd = connect();
  Clock::time_point begin = Clock::now();
  send(fd, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc");
  rest(fd);
  EXPECT_LT(ms_since(begin), 4000);
  EXPECT_EQ(broken_bodies_, 1);
}

TEST_F(HttpServerTest, ABodyThatDripsIsCut) {
  start({.stall_limit = milliseconds(1000)});
  UniqueFd fd = connect();
  Clock::time_point begin = Clock::now();
  send(fd, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n");
  std::jthread dripping([&](std::stop_token stop) {
    while (!stop.stop_requested()) {
      send(fd, "x");
      std::this_thread::sleep_for(milliseconds(50));
    }
  });
  rest(fd);
  EXPECT_LT(ms_since(begin), 8000);
  EXPECT_EQ(broken_bodies_, 1);
}

TEST_F(HttpServerTest, AnAnswerThatNobodyReadsIsCut) {
  start({.stall_limit = milliseconds(300)});
  UniqueFd fd = connect();
  send(fd, "GET /large HTTP/1.1\r\nHost: x\r\n\r\n");
  char byte;
  ASSERT_EQ(::recv(fd.get(), &byte, 1, MSG_PEEK), 1);
  std::this_thread::sleep_for(milliseconds(1500));
  EXPECT_LT(rest(fd).size(), kLarge);
}

TEST_F(HttpServerTest, IdleConnectionsMakeRoom) {
  start({.max_connections = 4});
  std::vector<UniqueFd> idle;
  for (int i = 0; i < 20; ++i) idle.push_back(connect());
  UniqueFd fd = connect();
  send(fd, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_TRUE(rest(fd).starts_with("HTTP/1.1 200 "));
}

TEST_F(HttpServerTest, PipelinedBodiesAreKeptApart) {
  start({});
  UniqueFd fd = connect();
  send(fd,
       "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n0\r\n\r\n"
       "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\ntwo"
       "\r\n\r\nPOST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nConnection: close\r\n\r\nthree");
  std::string out = rest(fd);
  size_t one = out.find("\r\n\r\none"), two = out.find("\r\n\r\ntwo"), three = out.find("\r\n\r\nthree");
  EXPECT_LT(one, two);
  EXPECT_LT(two, three);
  EXPECT_NE(three, std::string::npos);
}

TEST_F(HttpServerTest, RequestsAreCutAfterTheGrace) {
  start({.stop_grace = milliseconds(500)});
  UniqueFd busy = connect(), idle = connect();
  send(busy, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nx");
  std::this_thread::sleep_for(milliseconds(200));
  Clock::time_point begin = Clock::now();
  stop_.request_stop();
  EXPECT_EQ(rest(idle), "");
  EXPECT_LT(ms_since(begin), 400);
  thread_.join();
  EXPECT_GE(ms_since(begin), 450);
  EXPECT_LT(ms_since(begin), 3000);
}

}  // namespace
}  // namespace kasane::serve
