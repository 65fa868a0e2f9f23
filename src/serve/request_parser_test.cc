#include "serve/request_parser.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "serve/body_decoder.h"

namespace kasane::serve {
namespace {

const std::string kGet = "GET /v2/ HTTP/1.1\r\nHost: x\r\n";

int status_of(const std::string& head) {
  ParsedHead parsed = parse_head(head);
  return parsed.bad ? parsed.bad->status : 200;
}

TEST(RequestParser, PlainRequest) {
  ParsedHead head = parse_head(kGet + "X-Mixed: A b\r\nrange: bytes=0-\r\n\r\n");
  ASSERT_FALSE(head.bad);
  EXPECT_EQ(head.request.method, "GET");
  EXPECT_EQ(head.request.target, "/v2/");
  EXPECT_EQ(*head.request.header("x-mixed"), "A b");
  EXPECT_TRUE(head.keep_alive);
  EXPECT_FALSE(head.request.has_body);
}

TEST(RequestParser, KeepAlive) {
  auto keeps = [](const std::string& head) {
    return parse_head(head).keep_alive;
  };
  EXPECT_FALSE(keeps(kGet + "Connection: close\r\n\r\n"));
  EXPECT_FALSE(keeps("GET / HTTP/1.0\r\n\r\n"));
  EXPECT_FALSE(keeps("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
}

TEST(RequestParser, HeadLength) {
  EXPECT_EQ(head_length("GET"), 0u);
  EXPECT_EQ(head_length(kGet), 0u);
  EXPECT_EQ(head_length(kGet + "\r\nrest"), kGet.size() + 2);
  EXPECT_EQ(head_length("GET / HTTP/1.1\n\nrest"), 16u);
}

TEST(RequestParser, RefusesWhatOthersRead) {
  for (const char* field :
       {"A: b\r\n folded", "A : b", "A\x01: b", "A: b\x01", ": b", "A", "Content-Length: 1\r\nContent-Length: 1",
        "Content-Length: 1\r\nTransfer-Encoding: chunked", "Content-Length: 1,1", "Content-Length: ",
        "Content-Length: -1", "Content-Length: 18446744073709551616", "Host: second"})
    EXPECT_EQ(status_of(kGet + field + "\r\n\r\n"), 400) << field;
  for (const char* coding : {"gzip", "identity", "chunked, chunked", "gzip, chunked", "xchunked"})
    EXPECT_EQ(status_of(kGet + "Transfer-Encoding: " + coding + "\r\n\r\n"), 501) << coding;
  EXPECT_EQ(status_of(kGet + std::string("A: b\0c", 6) + "\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET / HTTP/3.0\r\n\r\n"), 505);
  EXPECT_EQ(status_of(kGet + "Expect: nothing\r\n\r\n"), 417);
  EXPECT_EQ(status_of(kGet + "Expect: 100-Continue\r\nTransfer-Encoding: CHUNKED\r\n\r\n"), 200);
}

TEST(RequestParser, OnlyHttpIsHttp) {
  EXPECT_TRUE(cannot_be_http("\x16\x03\x01"));
  EXPECT_TRUE(cannot_be_http(" GET"));
  EXPECT_FALSE(cannot_be_http("G"));
  EXPECT_FALSE(cannot_be_http(""));
}

// Feeds the body in pieces of `in` bytes, takes it in pieces of `out`; "!" when it is malformed,
// "…" behind what is incomplete.
std::string decode(BodyDecoder decoder, const std::string& body, size_t in, size_t out) {
  std::string pending, result;
  size_t given = 0;
  std::vector<uint8_t> buffer(out);
  while (!decoder.done()) {
    BodyDecoder::Piece piece = decoder.decode(pending, buffer);
    result.append(buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(piece.produced));
    pending.erase(0, piece.consumed);
    if (!piece.error.empty()) return "!";
    if (piece.consumed > 0) continue;
    if (given >= body.size()) return result + "…";
    pending += body.substr(given, in);
    given += in;
  }
  return result;
}

TEST(BodyDecoder, DoesNotDependOnWhereItIsCut) {
  const std::string chunked = "5\r\nhello\r\n1;x=y\r\n,\r\nA\r\n wide worl\r\n01\r\nd\r\n000\r\nT: v\r\n\r\n";
  for (size_t in : {1, 2, 3, 7, 1000})
    for (size_t out : {1, 2, 5, 1000}) {
      EXPECT_EQ(decode(BodyDecoder::chunked(), chunked, in, out), "hello, wide world") << in << " " << out;
      EXPECT_EQ(decode(BodyDecoder::of_length(11), "hello worldnext", in, out), "hello world");
      EXPECT_EQ(decode(BodyDecoder::of_length(11), "hello", in, out), "hello…");
    }
  EXPECT_EQ(decode(BodyDecoder::of_length(0), "", 1, 1), "");
  EXPECT_EQ(decode(BodyDecoder::chunked(), "0\r\n\r\n", 1, 1), "");
}

TEST(BodyDecoder, MalformedChunks) {
  for (const char* body : {"FFFFFFFFFFFFFFFFF\r\n", "-1\r\n", "+1\r\na\r\n", "0x1\r\na\r\n", " 1\r\na\r\n", "1 \r\na\r\n",
                           "1\na\n0\n\n", "1\r\nab\r\n", "g\r\n", "\r\n", "\r0\r\n\r\n", "1\r\na0\r\n\r\n", "1\r\na\r0\r\n\r\n",
                           "0\r\n x\r\n\r\n", "0\r\nT: \x01\r\n\r\n", "1;\x01\r\na\r\n", "1;a\nb\r\na\r\n", "0\r\n\r\r\n"})
    for (size_t in : {1, 1000}) EXPECT_EQ(decode(BodyDecoder::chunked(), body, in, 100), "!") << body;
  EXPECT_EQ(decode(BodyDecoder::chunked(), "1;" + std::string(70'000, 'x'), 100, 100), "!");
  std::string trailers = "0\r\n";
  for (int i = 0; i < 10'000; ++i) trailers += "Trailer: x\r\n";
  EXPECT_EQ(decode(BodyDecoder::chunked(), trailers, 1000, 100), "!");
}

}  // namespace
}  // namespace kasane::serve
