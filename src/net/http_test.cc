#include "net/http.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "net/source_cache.h"
#include "net/testing.h"

namespace kasane::net {
namespace {

using testing::Request;
using testing::Server;

std::string answer(const Request& request) {
  if (request.path == "/hop") return Server::response("302 Found", "moved", "Location: /file\r\n");
  if (request.path == "/loop") return Server::response("302 Found", "", "Location: /loop\r\n");
  if (request.path == "/ftp") return Server::response("302 Found", "", "Location: ftp://h/x\r\n");
  if (request.path == "/local") return Server::response("302 Found", "", "Location: file:///etc/passwd\r\n");
  if (request.path == "/file") return Server::response("200 OK", "content");
  if (request.path == "/short")
    return "HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\nhalf";
  if (request.path == "/packed")
    return Server::response("200 OK", std::string("\x1f\x8b raw"), "Content-Encoding: gzip\r\n");
  if (request.path == "/big") return Server::response("200 OK", std::string(5000, 'x'));
  if (request.path == "/slow") std::this_thread::sleep_for(std::chrono::seconds(2));
  if (request.path == "/cached") {
    if (request.headers.contains("if-none-match"))
      return "HTTP/1.1 304 Not Modified\r\nConnection: close\r\nETag: \"a\"\r\n\r\n";
    return Server::response("200 OK", "content",
                            "ETag: \"a\"\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
  }
  return Server::response("404 Not Found", "no such thing");
}

struct Fetch {
  Result<HttpResponse> response;
  std::string body;
};

Fetch get(const std::string& url, uint64_t limit = 1 << 20, std::vector<std::string> headers = {}) {
  HttpRequest request;
  request.url = url;
  request.max_body_bytes = limit;
  request.headers = std::move(headers);
  StringSink sink;
  Result<HttpResponse> response = http_fetch(request, sink, {});
  return {std::move(response), sink.text};
}

TEST(Http, BodyStatusAndRedirects) {
  Server server(answer);
  Fetch fetch = get(server.url("/hop"));
  ASSERT_TRUE(fetch.response) << fetch.response.error().full_message();
  EXPECT_EQ(fetch.response->status, 200);
  EXPECT_EQ(fetch.body, "content");
  EXPECT_EQ(fetch.response->effective_url, server.url("/file"));
  EXPECT_EQ(get(server.url("/nothing")).response->status, 404);
  EXPECT_EQ(get(server.url("/packed")).body, std::string("\x1f\x8b raw"));
}

TEST(Http, FailuresHaveKinds) {
  Server server(answer);
  EXPECT_EQ(get(server.url("/loop")).response.error().kind(), ErrorKind::kNetwork);
  EXPECT_EQ(get(server.url("/ftp")).response.error().kind(), ErrorKind::kNetwork);
  EXPECT_EQ(get(server.url("/local")).response.error().kind(), ErrorKind::kNetwork);
  EXPECT_EQ(get(server.url("/short")).response.error().kind(), ErrorKind::kNetwork);
  EXPECT_EQ(get(server.url("/big"), 100).response.error().kind(), ErrorKind::kLimit);
  EXPECT_EQ(get("http://127.0.0.1:1/").response.error().kind(), ErrorKind::kNetwork);
  EXPECT_EQ(get("file:///etc/passwd").response.error().kind(), ErrorKind::kInvalid);
  EXPECT_EQ(get(server.url("/file"), 100, {"A: b\r\nC: d"}).response.error().kind(),
            ErrorKind::kInvalid);
}

TEST(Http, AuthorizationStaysWithItsHost) {
  Server other(answer);
  Server server([&](const Request& request) {
    if (request.path == "/away")
      return Server::response("302 Found", "", "Location: " + other.url("/file") + "\r\n");
    return answer(request);
  });
  EXPECT_EQ(get(server.url("/away"), 100, {"Authorization: Bearer x", "X-Mine: 1"}).body, "content");
  EXPECT_FALSE(other.requests()[0].headers.contains("authorization"));
  EXPECT_TRUE(other.requests()[0].headers.contains("x-mine"));
  get(server.url("/hop"), 100, {"Authorization: Bearer x"});
  EXPECT_EQ(server.requests().back().headers["authorization"], "Bearer x");
}

TEST(Http, StopsAtOnce) {
  Server server(answer);
  std::stop_source source;
  std::jthread stopper([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    source.request_stop();
  });
  HttpRequest request;
  request.url = server.url("/slow");
  StringSink sink;
  auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(http_fetch(request, sink, source.get_token()).error().kind(), ErrorKind::kCancelled);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(1500));
}

TEST(Http, UrlParts) {
  EXPECT_EQ(redact_url("https://u:p@h/x@y"), "https://xxxxx@h/x@y");
  EXPECT_EQ(url_host("HTTPS://u@Example.COM:443/x"), "example.com");
  EXPECT_EQ(url_host("http://h:8080"), "h:8080");
  EXPECT_EQ(http_source_name("http://h/a/b%20c?x#y"), "b c");
  EXPECT_EQ(http_source_name("http://h/"), "__unnamed__");
  EXPECT_EQ(http_source_name("http://h"), "__unnamed__");
  EXPECT_EQ(http_source_name("http://h/a/.."), "__unnamed__");
}

TEST(HttpCache, RevalidatesAndKeeps) {
  TempDir dir = *TempDir::make();
  SourceCache cache(dir.path());
  Server server(answer);
  for (int i = 0; i < 2; ++i) {
    Result<HttpSource> source = cache.http(server.url("/cached"), {}, {});
    ASSERT_TRUE(source) << source.error().full_message();
    EXPECT_EQ(*read_file(source->file), "content");
    EXPECT_EQ(source->digest, sha256(std::string_view("content")));
    EXPECT_EQ(source->last_modified, 784111777);
    EXPECT_EQ(source->name, "cached");
  }
  EXPECT_EQ(server.requests()[1].headers["if-none-match"], "\"a\"");
  EXPECT_EQ(cache.http(server.url("/nothing"), {}, {}).error().kind(), ErrorKind::kNotFound);
  EXPECT_EQ(cache.http(server.url("/short"), {}, {}).error().kind(), ErrorKind::kNetwork);
}

TEST(HttpCache, Checksums) {
  TempDir dir = *TempDir::make();
  SourceCache cache(dir.path());
  Server server(answer);
  HttpSourceOptions options;
  options.checksum = sha256(std::string_view("content")).str();
  ASSERT_TRUE(cache.http(server.url("/file"), options, {}));
  ASSERT_TRUE(cache.http(server.url("/file"), options, {}));
  EXPECT_EQ(server.requests().size(), 1u);
  options.checksum = sha256(std::string_view("other")).str();
  Result<HttpSource> wrong = cache.http(server.url("/file"), options, {});
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().kind(), ErrorKind::kCorrupt);
  EXPECT_NE(wrong.error().message().find(options.checksum), std::string::npos);
  options.checksum = "sha512:00";
  EXPECT_EQ(cache.http(server.url("/file"), options, {}).error().kind(), ErrorKind::kInvalid);
}

TEST(HttpCache, ConcurrentUseMovesOnce) {
  TempDir dir = *TempDir::make();
  Server server(answer);
  HttpSourceOptions options;
  options.checksum = sha256(std::string_view("content")).str();
  std::vector<std::jthread> threads;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&] {
      SourceCache cache(dir.path());
      Result<HttpSource> source = cache.http(server.url("/file"), options, {});
      ASSERT_TRUE(source) << source.error().full_message();
      EXPECT_EQ(*read_file(source->file), "content");
    });
  threads.clear();
  EXPECT_EQ(server.requests().size(), 1u);
}

}  // namespace
}  // namespace kasane::net
