# kasane_folder(NAME LIBS ...): library kasane_NAME from src/NAME/**.cc, and,
# with tests on, the program NAME_test from every *_test.cc beside the sources.
# Both lists are globbed, so neither a source nor a test can drop out.

function(kasane_folder name)
  cmake_parse_arguments(ARG "" "" "LIBS" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${name}/*.cc)
  set(tests ${sources})
  list(FILTER sources EXCLUDE REGEX "_test\\.cc$")
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")

  if(NOT sources)
    add_library(kasane_${name} INTERFACE)
    target_include_directories(kasane_${name} INTERFACE ${CMAKE_SOURCE_DIR}/src)
    target_link_libraries(kasane_${name} INTERFACE ${ARG_LIBS})
  else()
    add_library(kasane_${name} STATIC ${sources})
    target_include_directories(kasane_${name} PUBLIC ${CMAKE_SOURCE_DIR}/src)
    target_compile_definitions(kasane_${name} PRIVATE KASANE_VERSION="${PROJECT_VERSION}")
    target_link_libraries(kasane_${name} PUBLIC ${ARG_LIBS})
  endif()

  if(KASANE_TESTS AND tests)
    find_package(GTest REQUIRED)
    include(GoogleTest)
    enable_testing()
    add_executable(${name}_test ${tests})
    target_link_libraries(${name}_test PRIVATE kasane_${name} GTest::gmock GTest::gtest_main)
    target_compile_definitions(${name}_test PRIVATE KASANE_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
    gtest_discover_tests(${name}_test DISCOVERY_MODE PRE_TEST
      PROPERTIES TIMEOUT 300 DISCOVERY_TIMEOUT 60)
  endif()
endfunction()
