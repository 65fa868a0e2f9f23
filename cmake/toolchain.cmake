# Compiler flags and helpers that are used when they are present.

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()

find_program(KASANE_CCACHE ccache)
if(KASANE_CCACHE)
  set(CMAKE_C_COMPILER_LAUNCHER ${KASANE_CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${KASANE_CCACHE})
endif()

find_program(KASANE_MOLD mold)
if(KASANE_MOLD)
  add_link_options(-fuse-ld=mold)
endif()

# -O2: what -O3 adds costs compile time and start-up, and gains nothing that a profile shows.
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG")
# -Wrestrict of g++ 12 is wrong about std::string (GCC bug 105651).
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  add_compile_options(-Wno-restrict)
endif()
add_compile_options(-Wall -Wextra -Wshadow $<$<COMPILE_LANGUAGE:CXX>:-Wnon-virtual-dtor> -Wimplicit-fallthrough)
add_compile_definitions(_FILE_OFFSET_BITS=64 _GNU_SOURCE)

if(CMAKE_BUILD_TYPE STREQUAL "Release")
  add_compile_options(-fstack-protector-strong)
  add_compile_definitions(_FORTIFY_SOURCE=2)
  add_link_options(-Wl,-z,relro,-z,now -static-libstdc++ -static-libgcc)
endif()

if(KASANE_SANITIZE)
  add_compile_options(-fsanitize=${KASANE_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=undefined)
  add_link_options(-fsanitize=${KASANE_SANITIZE})
endif()

# Coverage for libFuzzer in all libraries; the programs of tests/fuzz link the engine.
if(KASANE_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
