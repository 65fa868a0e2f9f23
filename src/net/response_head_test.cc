#include "net/response_head.h"

#include <gtest/gtest.h>

namespace kasane::net {
namespace {

Result<HttpResponse> read(const std::vector<std::string>& lines, uint64_t max_bytes = 1000, bool* complete = nullptr) {
  HttpResponse response;
  ResponseHead head(response, max_bytes);
  for (const std::string& line : lines) TRY(head.take(line + "\r\n"));
  if (complete) *complete = head.complete();
  return response;
}

TEST(ResponseHead, ReadsHeaders) {
  bool complete = false;
  Result<HttpResponse> got = read({"HTTP/1.1 200 OK", "Content-Length: 5", "X-A:  b c ", "WWW-Authenticate: Basic",
                                   "WWW-Authenticate: Bearer", ""}, 1000, &complete);
  ASSERT_TRUE(got) << got.error().full_message();
  EXPECT_EQ(got->status, 200);
  EXPECT_EQ(got->headers.at("x-a"), "b c");
  EXPECT_EQ(got->challenges, (std::vector<std::string>{"Basic", "Bearer"}));
  EXPECT_TRUE(complete);
}

TEST(ResponseHead, InterimAnswersAreForgotten) {
  bool complete = true;
  ASSERT_TRUE(read({"HTTP/1.1 103 Early Hints", "Link: x", ""}, 1000, &complete));
  EXPECT_FALSE(complete);
  Result<HttpResponse> got = read({"HTTP/1.1 103 Early Hints", "Link: x", "", "HTTP/1.1 404 No", "A: b", ""}, 1000, &complete);
  ASSERT_TRUE(got);
  EXPECT_EQ(got->status, 404);
  EXPECT_FALSE(got->headers.contains("link"));
  EXPECT_TRUE(complete);
}

TEST(ResponseHead, EndsWithinTheHeaders) {
  bool complete = true;
  ASSERT_TRUE(read({"HTTP/1.1 200 OK", "A: b"}, 1000, &complete));
  EXPECT_FALSE(complete);
}

TEST(ResponseHead, TrailersChangeNothing) {
  Result<HttpResponse> got = read({"HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "", "Content-Length: 3", "Location: /x"});
  ASSERT_TRUE(got);
  EXPECT_FALSE(got->headers.contains("content-length"));
  EXPECT_FALSE(got->headers.contains("location"));
}

TEST(ResponseHead, AmbiguousOnesAreRefused) {
  using namespace std::string_literals;
  for (const std::string& bad :
       {" Content-Length: 2"s, "\tx"s, "Content-Length : 2"s, "no colon"s, ": x"s, "A\0: b"s, "A: b\0c"s, "A B: c"s,
        "Content-Length: -2"s, "Content-Length: +2"s, "Content-Length: 2, 2"s, "Content-Length: "s, "Content-Length: two"s,
        "Content-Length: 99999999999999999999"s, "Content-Length: 7"s, "Transfer-Encoding: chunked"s}) {
    Result<HttpResponse> got = read({"HTTP/1.1 200 OK", "Content-Length: 6", bad});
    ASSERT_FALSE(got) << bad;
    EXPECT_EQ(got.error().kind(), ErrorKind::kNetwork) << bad;
  }
  EXPECT_FALSE(read({"HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "Content-Length: 6"}));
  EXPECT_TRUE(read({"HTTP/1.1 200 OK", "Content-Length: 6", "content-length: 6"}));
}

TEST(ResponseHead, InterimAnswersCountForTheLimit) {
  std::vector<std::string> flood;
  for (int i = 0; i < 100; ++i) flood.insert(flood.end(), {"HTTP/1.1 102 Processing", ""});
  Result<HttpResponse> got = read(flood);
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().kind(), ErrorKind::kLimit);
}

}  // namespace
}  // namespace kasane::net
