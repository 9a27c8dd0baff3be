# Writes OUT, which defines W8A8_HEADERS_SHA256, unless it says the same already. ROOT: the repository's root.
execute_process(
  COMMAND sh -c "find include -type f | LC_ALL=C sort | xargs sha256sum | sha256sum | cut -c1-64"
  WORKING_DIRECTORY "${ROOT}" OUTPUT_VARIABLE sha256 OUTPUT_STRIP_TRAILING_WHITESPACE)
set(text "#pragma once\n#define W8A8_HEADERS_SHA256 \"${sha256}\"\n")
set(before "")
if(EXISTS "${OUT}")
  file(READ "${OUT}" before)
endif()
if(NOT before STREQUAL text)
  file(WRITE "${OUT}" "${text}")
endif()
