#include "build/ssh_agent.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>

#include "base/process.h"

namespace kasane::build {
namespace {

constexpr uint32_t kMaxMessage = 256 * 1024;
// Messages of the agent protocol (draft-miller-ssh-agent).
constexpr uint8_t kFailure = 5, kRequestIdentities = 11, kSignRequest = 13;

Result<sockaddr_un> address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    return Error(ErrorKind::kLimit, "path of a socket is too long: " + path);
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

bool is_socket(const std::string& path) {
  struct stat st;
  return ::stat(path.c_str(), &st) == 0 && S_ISSOCK(st.st_mode);
}

std::vector<std::string> split(std::string_view text, char by) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin <= text.size();) {
    size_t end = std::min(text.find(by, begin), text.size());
    parts.emplace_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

bool wait_readable(int fd, int wake) {
  pollfd fds[2] = {{fd, POLLIN, 0}, {wake, POLLIN, 0}};
  while (::poll(fds, 2, -1) < 0)
    if (errno != EINTR) return false;
  return fds[1].revents == 0;
}

bool read_exact(int fd, int wake, uint8_t* to, size_t size) {
  while (size > 0) {
    if (!wait_readable(fd, wake)) return false;
    ssize_t n = ::recv(fd, to, size, 0);
    if (n <= 0) return false;
    to += n;
    size -= static_cast<size_t>(n);
  }
  return true;
}

bool send_all(int fd, const std::string& bytes) {
  for (size_t at = 0; at < bytes.size();) {
    ssize_t n = ::send(fd, bytes.data() + at, bytes.size() - at, MSG_NOSIGNAL);
    if (n <= 0) return false;
    at += static_cast<size_t>(n);
  }
  return true;
}

// One message with its length prefix; "" at the end of the stream or for a bad one.
std::string read_message(int fd, int wake) {
  uint8_t head[4];
  if (!read_exact(fd, wake, head, sizeof head)) return {};
  uint32_t size = uint32_t{head[0]} << 24 | uint32_t{head[1]} << 16 | uint32_t{head[2]} << 8 | head[3];
  if (size == 0 || size > kMaxMessage) return {};
  std::string message(reinterpret_cast<char*>(head), sizeof head);
  message.resize(sizeof head + size);
  if (!read_exact(fd, wake, reinterpret_cast<uint8_t*>(message.data()) + sizeof head, size)) return {};
  return message;
}

}  // namespace

SshAgents::~SshAgents() {
  for (const Started& agent : started_) {
    ::kill(agent.pid, SIGTERM);
    ::unlink((agent.directory + "/agent").c_str());
    ::rmdir(agent.directory.c_str());
  }
}

const std::string* SshAgents::find(const std::string& id) const {
  auto it = sockets_.find(id);
  return it == sockets_.end() ? nullptr : &it->second;
}

Result<std::string> SshAgents::start_agent(const std::vector<std::string>& keys) {
  char directory[] = "/tmp/kasane-ssh-XXXXXX";
  if (!::mkdtemp(directory)) return Error::from_errno(errno, "create a directory for ssh-agent");
  std::string socket = std::string(directory) + "/agent";
  ProcessOutput started = TRY_CONTEXT(run_process({"ssh-agent", "-s", "-a", socket}), "start ssh-agent");
  size_t at = started.out.find("SSH_AGENT_PID=");
  int pid = 0;
  if (at != std::string::npos)
    std::from_chars(started.out.data() + at + 14, started.out.data() + started.out.size(), pid);
  if (started.exit_status != 0 || pid <= 0)
    return Error(ErrorKind::kUnsupported, "could not start ssh-agent: " + started.err)
        .hint("install openssh-client, or give a running agent: --ssh default=$SSH_AUTH_SOCK");
  started_.push_back({pid, directory});
  for (const std::string& key : keys) {
    ProcessOutput added = TRY(run_process({"env", "SSH_AUTH_SOCK=" + socket, "SSH_ASKPASS_REQUIRE=never",
                                           "setsid", "ssh-add", "--", key}));
    if (added.exit_status != 0)
      return Error(ErrorKind::kInvalid, "--ssh: cannot load key " + key + ": " + added.err)
          .hint("keys with a passphrase must be loaded into an agent first; give its socket instead");
  }
  return socket;
}

Result<void> SshAgents::add(std::string_view argument, const std::string& auth_sock) {
  size_t equals = argument.find('=');
  std::string id(argument.substr(0, equals));
  std::vector<std::string> paths;
  if (equals != std::string_view::npos) paths = split(argument.substr(equals + 1), ',');
  if (id.empty()) return Error(ErrorKind::kInvalid, "invalid --ssh " + std::string(argument) + ": no id");
  if (paths.empty() || paths.front().empty()) {
    if (auth_sock.empty())
      return Error(ErrorKind::kInvalid, "invalid empty ssh agent socket: SSH_AUTH_SOCK is not set")
          .hint("start an agent (eval $(ssh-agent)), or name a socket or key: --ssh " + id + "=PATH");
    paths = {auth_sock};
  }
  for (const std::string& path : paths)
    if (::access(path.c_str(), F_OK) != 0) return Error::from_errno(errno, "--ssh " + id + ": " + path);
  if (is_socket(paths.front())) {
    if (paths.size() > 1)
      return Error(ErrorKind::kInvalid, "--ssh " + id + ": only one socket can be given");
    sockets_[id] = paths.front();
  } else {
    sockets_[id] = TRY(start_agent(paths));
  }
  return {};
}

Result<std::unique_ptr<SshRelay>> SshRelay::start(const std::string& path, uint32_t mode, uint32_t uid,
                                                  uint32_t gid, const std::string& agent_socket) {
  std::unique_ptr<SshRelay> relay(new SshRelay());
  relay->path_ = path;
  relay->agent_socket_ = agent_socket;
  sockaddr_un address = TRY(address_of(path));
  relay->listener_ = UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  relay->wake_ = UniqueFd(::eventfd(0, EFD_CLOEXEC));
  if (!relay->listener_ || !relay->wake_ ||
      ::bind(relay->listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      ::chmod(path.c_str(), mode) != 0 || ::listen(relay->listener_.get(), 16) != 0)
    return Error::from_errno(errno, "make the socket of an ssh mount");
  if ((uid != 0 || gid != 0) && ::chown(path.c_str(), uid, gid) != 0 && errno != EPERM)
    return Error::from_errno(errno, "set the owner of an ssh mount");
  relay->thread_ = std::thread([raw = relay.get()] { raw->serve(); });
  return relay;
}

SshRelay::~SshRelay() {
  uint64_t one = 1;
  if (wake_) (void)!::write(wake_.get(), &one, sizeof one);
  if (thread_.joinable()) thread_.join();
  ::unlink(path_.c_str());
}

void SshRelay::serve() {
  std::vector<std::thread> clients;
  while (wait_readable(listener_.get(), wake_.get())) {
    int client = ::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC);
    if (client < 0) continue;
    // A step that opens connections without end is its own loss, but must not be ours.
    if (clients.size() >= 256) {
      ::close(client);
      continue;
    }
    clients.emplace_back([this, client] { serve_client(client); });
  }
  for (std::thread& client : clients) client.join();
}

void SshRelay::serve_client(int client) {
  UniqueFd own(client);
  Result<sockaddr_un> address = address_of(agent_socket_);
  UniqueFd agent(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!address || !agent ||
      ::connect(agent.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) != 0)
    return;
  for (;;) {
    std::string request = read_message(client, wake_.get());
    if (request.empty()) return;
    uint8_t type = static_cast<uint8_t>(request[4]);
    std::string reply("\0\0\0\1", 4);
    reply += static_cast<char>(kFailure);
    if (type == kRequestIdentities || type == kSignRequest) {
      if (!send_all(agent.get(), request)) return;
      reply = read_message(agent.get(), wake_.get());
    }
    if (reply.empty() || !send_all(client, reply)) return;
  }
}

}  // namespace kasane::build
