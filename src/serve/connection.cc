#include "serve/connection.h"

#include <algorithm>
#include <ctime>

#include "serve/body_decoder.h"
#include "serve/request_parser.h"

namespace kasane::serve {
namespace {

constexpr size_t kBodyBuffer = 128u << 10;
constexpr uint64_t kMinimumRate = 1024;          // bytes per second, over stall_limit
constexpr uint64_t kDrainedBody = 1u << 20;      // of a body that the handler did not read
constexpr auto kLinger = std::chrono::seconds(2);  // for a peer that still sends

// Bytes received and not used yet.
class Input {
 public:
  explicit Input(Transport& transport) : transport_(transport) {}

  std::string_view view() const { return std::string_view(bytes_).substr(start_); }
  void drop(size_t n) {
    start_ += n;
    if (start_ == bytes_.size()) {
      bytes_.clear();
      start_ = 0;
    }
  }
  // False at the end of the stream.
  Result<bool> fill(size_t at_most, Clock::time_point deadline) {
    if (start_ > 0) {
      bytes_.erase(0, start_);
      start_ = 0;
    }
    size_t before = bytes_.size();
    bytes_.resize(before + at_most);
    auto n = transport_.read(
        std::span(reinterpret_cast<uint8_t*>(bytes_.data()) + before, at_most), deadline);
    bytes_.resize(before + (n ? *n : 0));
    if (!n) return std::move(n.error());
    return *n > 0;
  }

 private:
  Transport& transport_;
  std::string bytes_;
  size_t start_ = 0;
};

// The body of the request in hand. Sends "100 Continue" when the handler first reads.
class BodySource : public ByteSource {
 public:
  BodySource(Transport& transport, Input& input, BodyDecoder decoder,
             const HttpServerOptions& options, bool expects_continue)
      : transport_(transport),
        input_(input),
        decoder_(decoder),
        options_(options),
        owes_continue_(expects_continue && !decoder.done()) {}

  Result<size_t> read(std::span<uint8_t> buffer) override {
    if (failed_) return *failed_;
    if (owes_continue_) {
      owes_continue_ = false;
      if (auto sent = transport_.write("HTTP/1.1 100 Continue\r\n\r\n", options_.stall_limit); !sent)
        return fail(std::move(sent.error()));
    }
    while (!decoder_.done()) {
      BodyDecoder::Piece piece = decoder_.decode(input_.view(), buffer);
      input_.drop(piece.consumed);
      if (!piece.error.empty())
        return fail(Error(ErrorKind::kInvalid, "malformed body: " + std::string(piece.error)));
      if (piece.produced > 0) return piece.produced;
      if (decoder_.done()) break;
      if (auto filled = receive(); !filled) return fail(std::move(filled.error()));
    }
    return size_t{0};
  }

  bool at_end() const { return decoder_.done() && !failed_; }
  bool owes_continue() const { return owes_continue_; }

 private:
  Error fail(Error error) {
    failed_ = std::move(error);
    return *failed_;
  }

  Result<void> receive() {
    Clock::time_point now = Clock::now();
    if (now - window_start_ > options_.stall_limit) {
      auto seconds = std::chrono::duration_cast<std::chrono::seconds>(now - window_start_).count();
      if (window_bytes_ < kMinimumRate * static_cast<uint64_t>(seconds))
        return Error(ErrorKind::kNetwork, "the body comes too slowly");
      window_start_ = now;
      window_bytes_ = 0;
    }
    size_t before = input_.view().size();
    bool more = TRY(input_.fill(kBodyBuffer, now + options_.stall_limit));
    if (!more) return Error(ErrorKind::kNetwork, "the connection ended before the body did");
    window_bytes_ += input_.view().size() - before;
    return {};
  }

  Transport& transport_;
  Input& input_;
  BodyDecoder decoder_;
  const HttpServerOptions& options_;
  bool owes_continue_;
  std::optional<Error> failed_;
  Clock::time_point window_start_ = Clock::now();
  uint64_t window_bytes_ = 0;
};

std::string http_date() {
  std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  static constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                            "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  char text[64];
  std::snprintf(text, sizeof text, "%s, %02d %s %04d %02d:%02d:%02d GMT", kDays[parts.tm_wday],
                parts.tm_mday, kMonths[parts.tm_mon], parts.tm_year + 1900, parts.tm_hour,
                parts.tm_min, parts.tm_sec);
  return text;
}

bool may_have_length(int status) { return status != 204 && status != 304 && status >= 200; }

Result<void> send_response(Transport& transport, const Response& response, bool is_head,
                           bool close, Clock::duration stall) {
  uint64_t length = response.file ? response.length : response.body.size();
  std::string head = "HTTP/1.1 " + std::to_string(response.status) + " " +
                     std::string(reason_phrase(response.status)) + "\r\n";
  for (const auto& [name, value] : response.headers) {
    head += name + ": ";
    // A header value comes from our own code and from checked names; a line end in one would
    // let a client write headers for another.
    for (char c : value)
      if (c != '\r' && c != '\n') head += c;
    head += "\r\n";
  }
  if (may_have_length(response.status))
    head += "Content-Length: " +
            std::to_string(is_head && response.head_length ? *response.head_length : length) +
            "\r\n";
  head += "Date: " + http_date() + "\r\n";
  if (close) head += "Connection: close\r\n";
  head += "\r\n";
  const bool with_body = !is_head && may_have_length(response.status);
  if (with_body && !response.file) head += response.body;
  TRY(transport.write(head, stall));
  if (with_body && response.file)
    TRY(transport.send_file(response.file.get(), response.offset, response.length, stall));
  return {};
}

// Lets a peer that is still sending see the answer: closing now would reset the connection and
// could discard it on the way.
void linger(Transport& transport) {
  transport.finish_writing();
  std::vector<uint8_t> buffer(64u << 10);
  Clock::time_point deadline = Clock::now() + kLinger;
  for (int i = 0; i < 1024 && Clock::now() < deadline; ++i) {
    auto n = transport.read(buffer, deadline);
    if (!n || *n == 0) return;
  }
}

// Reads the rest of a body, so that the connection can be used again. False when it should not.
bool drain(BodySource& body) {
  if (body.at_end()) return true;
  if (body.owes_continue()) return false;  // the client waits for us, or sends; it cannot be known
  std::vector<uint8_t> buffer(64u << 10);
  uint64_t total = 0;
  while (total < kDrainedBody) {
    auto n = body.read(buffer);
    if (!n) return false;
    if (*n == 0) return true;
    total += *n;
  }
  return false;
}

class Session {
 public:
  Session(Transport& transport, const HttpServerOptions& options, const Handler& handler,
          ConnectionControl& control)
      : transport_(transport),
        options_(options),
        handler_(handler),
        control_(control),
        input_(transport) {}

  void run() {
    while (!control_.stopping && one_request()) {
    }
  }

 private:
  // Length of the head, 0 when the connection is to be closed.
  size_t receive_head() {
    Clock::time_point deadline = Clock::now() + options_.idle_limit;
    bool started = !input_.view().empty();
    if (started) deadline = Clock::now() + options_.head_limit;
    for (;;) {
      skip_empty_lines();
      if (cannot_be_http(input_.view())) {
        answer_bad({400, "this is an HTTP server"});
        return 0;
      }
      if (size_t length = head_length(input_.view())) return length;
      if (input_.view().size() > kMaxHead) {
        answer_bad({431, "the header is too large"});
        return 0;
      }
      if (!started && !input_.view().empty()) {
        started = true;
        deadline = Clock::now() + options_.head_limit;
      }
      control_.idle = !started;
      auto more = input_.fill(16u << 10, deadline);
      control_.idle = false;
      if (!more && started && Clock::now() >= deadline)
        answer_bad({408, "the header took too long"});
      if (!more || !*more) return 0;
    }
  }

  // RFC 9112 2.2: empty lines before a request line are ignored, but not without end.
  void skip_empty_lines() {
    for (int i = 0; i < 4 && input_.view().starts_with("\r\n"); ++i) input_.drop(2);
  }

  void answer_bad(const BadRequest& bad) {
    Response response;
    response.status = bad.status;
    response.set("Content-Type", "text/plain; charset=utf-8");
    response.body = bad.reason + "\n";
    if (send_response(transport_, response, false, true, options_.stall_limit)) linger(transport_);
  }

  bool one_request() {
    size_t length = receive_head();
    if (length == 0) return false;
    ParsedHead head = parse_head(input_.view().substr(0, length));
    if (head.bad || length > kMaxHead) {
      answer_bad(head.bad ? *head.bad : BadRequest{431, "the header is too large"});
      return false;
    }
    input_.drop(length);
    BodyDecoder decoder = head.chunked
                              ? BodyDecoder::chunked()
                              : BodyDecoder::of_length(head.request.content_length.value_or(0));
    BodySource body(transport_, input_, decoder, options_, head.expects_continue);
    head.request.body = &body;
    Response response = handler_(head.request);
    // The rest of a small body is read first; of a large one it is not worth waiting for.
    const bool small = head.request.content_length.value_or(kDrainedBody + 1) <= kDrainedBody;
    const bool clean = body.at_end() || (small && drain(body));
    const bool close = !clean || !head.keep_alive || control_.stopping;
    auto sent = send_response(transport_, response, head.request.method == "HEAD", close,
                              options_.stall_limit);
    if (!sent) return false;
    if (!clean) linger(transport_);
    return !close;
  }

  Transport& transport_;
  const HttpServerOptions& options_;
  const Handler& handler_;
  ConnectionControl& control_;
  Input input_;
};

}  // namespace

void serve_connection(Transport& transport, const HttpServerOptions& options,
                      const Handler& handler, ConnectionControl& control) {
  Session(transport, options, handler, control).run();
  transport.finish_writing();
}

}  // namespace kasane::serve
