# Flags of every target of ours. obv_flags is an interface target: link it, nothing is global.
add_library(obv_flags INTERFACE)
target_compile_options(obv_flags INTERFACE -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes
                       -Wwrite-strings -Wvla -Wformat=2)
target_compile_definitions(obv_flags INTERFACE _GNU_SOURCE OBV_VERSION="${PROJECT_VERSION}")
target_include_directories(obv_flags INTERFACE ${CMAKE_SOURCE_DIR}/common)
if(OBV_TEST_FAULTS)
  target_compile_definitions(obv_flags INTERFACE OBV_TEST_FAULTS)
endif()
# Generated code is not ours to mend.
add_library(obv_generated_flags INTERFACE)
target_compile_options(obv_generated_flags INTERFACE -w)
