# obv_protobuf_c(target file.proto ...): protobuf-c code for protos below proto/, as a static library
find_program(PROTOC_C protoc-c REQUIRED)
function(obv_protobuf_c target)
  set(out ${CMAKE_CURRENT_BINARY_DIR}/gen)
  file(MAKE_DIRECTORY ${out})
  set(sources)
  foreach(proto ${ARGN})
    string(REPLACE ".proto" ".pb-c" stem ${proto})
    add_custom_command(
      OUTPUT ${out}/${stem}.c ${out}/${stem}.h
      COMMAND ${PROTOC_C} --c_out=${out} --proto_path=${CMAKE_SOURCE_DIR}/proto ${CMAKE_SOURCE_DIR}/proto/${proto}
      DEPENDS ${CMAKE_SOURCE_DIR}/proto/${proto}
      VERBATIM)
    list(APPEND sources ${out}/${stem}.c)
  endforeach()
  add_library(${target} STATIC ${sources})
  target_include_directories(${target} SYSTEM PUBLIC ${out})
  target_link_libraries(${target} PUBLIC PkgConfig::PROTOBUF_C PRIVATE obv_generated_flags)
endfunction()
