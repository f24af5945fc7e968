if(OBV_SANITIZE)
  add_compile_options(-fsanitize=${OBV_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${OBV_SANITIZE})
endif()
if(OBV_FUZZ)
  # our libraries must count their branches too, or libFuzzer is blind to them
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
