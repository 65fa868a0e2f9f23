# Third-party libraries, all from Debian packages. The static archives are
# preferred: start-up time is a feature, and each shared object costs a
# millisecond at exec.

function(kasane_library out)
  foreach(name IN LISTS ARGN)
    string(MAKE_C_IDENTIFIER "KASANE_LIB_${name}" var)
    find_library(${var} NAMES lib${name}.a ${name})
    if(NOT ${var})
      message(FATAL_ERROR "library '${name}' not found; run scripts/install-deps.sh build")
    endif()
    list(APPEND found ${${var}})
  endforeach()
  set(${out} ${found} PARENT_SCOPE)
endfunction()

find_package(Threads REQUIRED)

# fmt is compiled in src/base/fmt_instance.cc; only its headers come from the package.
find_path(KASANE_FMT_INCLUDE fmt/format-inl.h REQUIRED)
kasane_library(KASANE_BASE_LIBS crypto isal zstd lzma bz2 z)
add_library(kasane_thirdparty_base INTERFACE)
target_link_libraries(kasane_thirdparty_base INTERFACE ${KASANE_BASE_LIBS} Threads::Threads ${CMAKE_DL_LIBS})

# nlohmann-json is header-only and slow to compile: only .cc files may include it.
find_path(KASANE_NLOHMANN_INCLUDE nlohmann/json.hpp REQUIRED)
add_library(kasane_thirdparty_json INTERFACE)

kasane_library(KASANE_SQLITE_LIBS sqlite3)
add_library(kasane_thirdparty_sqlite INTERFACE)
target_link_libraries(kasane_thirdparty_sqlite INTERFACE ${KASANE_SQLITE_LIBS} m)

kasane_library(KASANE_SANDBOX_LIBS seccomp cap)
add_library(kasane_thirdparty_sandbox INTERFACE)
target_link_libraries(kasane_thirdparty_sandbox INTERFACE ${KASANE_SANDBOX_LIBS})

# Boost.Beast's HTTP parser (headers only; only .cc files may include it) and crypt(3). libssl is
# opened with dlopen when a registry is served over TLS, so that no other command pays for it.
find_path(KASANE_BEAST_INCLUDE boost/beast/http.hpp REQUIRED)
kasane_library(KASANE_SERVE_LIBS crypt)
add_library(kasane_thirdparty_serve INTERFACE)
target_link_libraries(kasane_thirdparty_serve INTERFACE ${KASANE_SERVE_LIBS})
