if(OBV_SANITIZE)
  add_compile_options(-fsanitize=${OBV_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${OBV_SANITIZE})
endif()
