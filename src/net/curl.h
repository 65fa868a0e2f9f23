// The functions of libcurl that kasane uses, found with dlopen on first use.
#pragma once

#define CURL_DISABLE_DEPRECATION 1
#define CURL_DISABLE_TYPECHECK 1
#include <curl/curl.h>

#include <memory>

#include "base/result.h"

namespace kasane::net {

struct CurlApi {
  decltype(&::curl_easy_init) easy_init;
  decltype(&::curl_easy_cleanup) easy_cleanup;
  decltype(&::curl_easy_setopt) easy_setopt;
  decltype(&::curl_easy_getinfo) easy_getinfo;
  decltype(&::curl_easy_strerror) easy_strerror;
  decltype(&::curl_multi_init) multi_init;
  decltype(&::curl_multi_cleanup) multi_cleanup;
  decltype(&::curl_multi_add_handle) multi_add_handle;
  decltype(&::curl_multi_remove_handle) multi_remove_handle;
  decltype(&::curl_multi_perform) multi_perform;
  decltype(&::curl_multi_poll) multi_poll;
  decltype(&::curl_multi_wakeup) multi_wakeup;
  decltype(&::curl_multi_info_read) multi_info_read;
  decltype(&::curl_multi_strerror) multi_strerror;
  decltype(&::curl_slist_append) slist_append;
  decltype(&::curl_slist_free_all) slist_free_all;
};

// kUnsupported, naming the package, when there is no libcurl. Thread-safe; the library stays
// loaded until the program ends.
Result<const CurlApi*> curl_api();

struct CurlDeleter {
  const CurlApi* api;
  void operator()(CURL* easy) const { api->easy_cleanup(easy); }
  void operator()(curl_slist* list) const { api->slist_free_all(list); }
};
struct CurlMultiDeleter {
  const CurlApi* api;
  void operator()(CURLM* multi) const { api->multi_cleanup(multi); }
};
using CurlEasy = std::unique_ptr<CURL, CurlDeleter>;
using CurlMulti = std::unique_ptr<CURLM, CurlMultiDeleter>;
using CurlList = std::unique_ptr<curl_slist, CurlDeleter>;

}  // namespace kasane::net
