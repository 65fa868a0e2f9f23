// A tiny HTTP server on 127.0.0.1 for the tests of this folder. One thread a connection.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace kasane::net::testing {

struct Request {
  std::string method, path;
  std::map<std::string, std::string> headers;  // names in lower case
};

class Server {
 public:
  // Returns the whole response, head and body; the connection is closed behind it.
  using Handler = std::function<std::string(const Request&)>;

  explicit Server(Handler handler) : handler_(std::move(handler)) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    ::bind(listener_, reinterpret_cast<sockaddr*>(&address), size);
    ::listen(listener_, 64);
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { accept_all(); });
  }
  ~Server() {
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
    for (std::thread& thread : connections_) thread.join();
  }
  std::string url(const std::string& path) const {
    return "http://127.0.0.1:" + std::to_string(port_) + path;
  }
  std::vector<Request> requests() {
    std::lock_guard lock(mutex_);
    return requests_;
  }
  static std::string response(const std::string& status, const std::string& body,
                              const std::string& headers = "") {
    return "HTTP/1.1 " + status + "\r\nConnection: close\r\nContent-Length: " +
           std::to_string(body.size()) + "\r\n" + headers + "\r\n" + body;
  }

 private:
  void accept_all() {
    for (;;) {
      int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) return;
      connections_.emplace_back([this, fd] { serve(fd); });
    }
  }
  void serve(int fd) {
    std::string head;
    char buffer[4096];
    while (head.find("\r\n\r\n") == std::string::npos) {
      ssize_t n = ::recv(fd, buffer, sizeof buffer, 0);
      if (n <= 0) break;
      head.append(buffer, static_cast<size_t>(n));
    }
    Request request = parse(head);
    {
      std::lock_guard lock(mutex_);
      requests_.push_back(request);
    }
    std::string answer = handler_(request);
    if (request.method == "HEAD") answer.resize(answer.find("\r\n\r\n") + 4);
    for (size_t sent = 0; sent < answer.size();) {
      ssize_t n = ::send(fd, answer.data() + sent, answer.size() - sent, MSG_NOSIGNAL);
      if (n <= 0) break;
      sent += static_cast<size_t>(n);
    }
    ::shutdown(fd, SHUT_WR);
    ::close(fd);
  }
  static Request parse(const std::string& head) {
    Request request;
    size_t end = head.find("\r\n");
    std::string line = head.substr(0, end);
    size_t a = line.find(' '), b = line.rfind(' ');
    if (a == std::string::npos || b <= a) return request;
    request.method = line.substr(0, a);
    request.path = line.substr(a + 1, b - a - 1);
    while (end != std::string::npos && end + 2 < head.size()) {
      size_t next = head.find("\r\n", end + 2);
      std::string header = head.substr(end + 2, next - end - 2);
      size_t colon = header.find(": ");
      if (colon != std::string::npos) {
        std::string name = header.substr(0, colon);
        for (char& c : name) c = static_cast<char>(::tolower(c));
        request.headers[name] = header.substr(colon + 2);
      }
      end = next;
    }
    return request;
  }

  Handler handler_;
  int listener_ = -1;
  int port_ = 0;
  std::mutex mutex_;
  std::vector<Request> requests_;
  std::vector<std::thread> connections_;
  std::thread thread_;
};

}  // namespace kasane::net::testing
