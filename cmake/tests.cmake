# obv_unit_tests(module LIBS lib ... [LABELS extra ...]): every test_*.c of the current folder is one cmocka program
# named unit.<module>.<name>. WORKING_DIRECTORY is the source tree, so tests name vectors as tests/vectors/...
function(obv_unit_tests module)
  cmake_parse_arguments(arg "" "" "LIBS;LABELS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/test_*.c)
  foreach(source ${sources})
    get_filename_component(name ${source} NAME_WE)
    string(REGEX REPLACE "^test_" "" short ${name})
    set(target unit_${module}_${short})
    add_executable(${target} ${source})
    target_include_directories(${target} PRIVATE ${CMAKE_SOURCE_DIR} ${CMAKE_SOURCE_DIR}/tests/unit)
    target_link_libraries(${target} PRIVATE obv_flags ${arg_LIBS} PkgConfig::CMOCKA)
    add_test(NAME unit.${module}.${short} COMMAND ${target} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
    set_tests_properties(unit.${module}.${short} PROPERTIES LABELS "unit;${arg_LABELS}" TIMEOUT 60
                         SKIP_RETURN_CODE 77)
  endforeach()
endfunction()

# obv_fuzz(name LIBS lib ... [SOURCES file ...]): tests/fuzz/fuzz_<name>.c, corpus tests/fuzz/corpus/<name>/
function(obv_fuzz name)
  cmake_parse_arguments(arg "" "" "LIBS;SOURCES" ${ARGN})
  if(OBV_FUZZ)
    add_executable(fuzz_${name} ${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_${name}.c ${arg_SOURCES})
    target_compile_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
    target_link_libraries(fuzz_${name} PRIVATE obv_flags ${arg_LIBS})
    target_include_directories(fuzz_${name} PRIVATE ${CMAKE_SOURCE_DIR} ${CMAKE_SOURCE_DIR}/agent ${CMAKE_SOURCE_DIR}/coordinator)
    add_test(NAME fuzz.${name}
             COMMAND fuzz_${name} -runs=20000 -max_total_time=20 -rss_limit_mb=1024
                     ${CMAKE_BINARY_DIR}/corpus-${name} ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${name})
    file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/corpus-${name} ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${name})
    set_tests_properties(fuzz.${name} PROPERTIES LABELS fuzz TIMEOUT 120)
  endif()
endfunction()
