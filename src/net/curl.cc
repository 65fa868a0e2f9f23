#include "net/curl.h"

#include <dlfcn.h>

namespace kasane::net {
namespace {

struct Loaded {
  CurlApi api{};
  std::string problem;  // empty when the api is complete
};

template <class F>
void find(void* library, const char* name, F& function, std::string& problem) {
  function = reinterpret_cast<F>(::dlsym(library, name));
  if (!function && problem.empty()) problem = std::string("it lacks ") + name;
}

Loaded load() {
  Loaded loaded;
  // git depends on the second one, so most hosts have one of the two.
  void* library = nullptr;
  for (const char* name : {"libcurl.so.4", "libcurl-gnutls.so.4"})
    if (!library) library = ::dlopen(name, RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    const char* why = ::dlerror();
    loaded.problem = why ? why : "dlopen failed";
    return loaded;
  }
  CurlApi& api = loaded.api;
  std::string& problem = loaded.problem;
  decltype(&::curl_global_init) global_init = nullptr;
  find(library, "curl_global_init", global_init, problem);
  find(library, "curl_easy_init", api.easy_init, problem);
  find(library, "curl_easy_cleanup", api.easy_cleanup, problem);
  find(library, "curl_easy_setopt", api.easy_setopt, problem);
  find(library, "curl_easy_getinfo", api.easy_getinfo, problem);
  find(library, "curl_easy_strerror", api.easy_strerror, problem);
  find(library, "curl_multi_init", api.multi_init, problem);
  find(library, "curl_multi_cleanup", api.multi_cleanup, problem);
  find(library, "curl_multi_add_handle", api.multi_add_handle, problem);
  find(library, "curl_multi_remove_handle", api.multi_remove_handle, problem);
  find(library, "curl_multi_perform", api.multi_perform, problem);
  find(library, "curl_multi_poll", api.multi_poll, problem);
  find(library, "curl_multi_wakeup", api.multi_wakeup, problem);
  find(library, "curl_multi_info_read", api.multi_info_read, problem);
  find(library, "curl_multi_strerror", api.multi_strerror, problem);
  find(library, "curl_slist_append", api.slist_append, problem);
  find(library, "curl_slist_free_all", api.slist_free_all, problem);
  if (problem.empty() && global_init(CURL_GLOBAL_ALL) != CURLE_OK)
    problem = "curl_global_init failed";
  return loaded;
}

}  // namespace

Result<const CurlApi*> curl_api() {
  static const Loaded kLoaded = load();
  if (!kLoaded.problem.empty())
    return Error(ErrorKind::kUnsupported, "downloads need libcurl: " + kLoaded.problem)
        .hint("install the Debian package libcurl4");
  return &kLoaded.api;
}

}  // namespace kasane::net
