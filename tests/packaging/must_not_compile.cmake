# cmake -DCOMPILER=... -DSOURCE=... -DOUTPUT=... -P must_not_compile.cmake
# The first line of SOURCE is `// error: REGEX`. SOURCE must compile, and with -DMUST_FAIL fail with a message that matches.
file(STRINGS "${SOURCE}" first LIMIT_COUNT 1)
if(NOT first MATCHES "^// error: (.+)$")
  message(FATAL_ERROR "${SOURCE}: the first line is not '// error: REGEX'")
endif()
set(expected "${CMAKE_MATCH_1}")

execute_process(COMMAND ${COMPILER} "${SOURCE}" -o "${OUTPUT}" RESULT_VARIABLE status ERROR_VARIABLE messages OUTPUT_QUIET)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "${SOURCE} does not compile without MUST_FAIL, so its failure would mean nothing:\n${messages}")
endif()

execute_process(COMMAND ${COMPILER} -DMUST_FAIL "${SOURCE}" -o "${OUTPUT}" RESULT_VARIABLE status ERROR_VARIABLE messages OUTPUT_QUIET)
if(status EQUAL 0)
  message(FATAL_ERROR "${SOURCE} compiles, and should not")
endif()
if(NOT messages MATCHES "${expected}")
  message(FATAL_ERROR "${SOURCE} fails for another reason than '${expected}':\n${messages}")
endif()
