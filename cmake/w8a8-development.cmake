# What this project's own programs share: CUDA architectures, warnings, Release by default. Not for consumers.

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

# The architectures of this machine's GPUs; sm_90 as 90a, whose instructions the Hopper kernels need.
function(w8a8_default_architectures result)
  set(found "")
  find_program(W8A8_NVIDIA_SMI nvidia-smi)
  mark_as_advanced(W8A8_NVIDIA_SMI)
  if(W8A8_NVIDIA_SMI)
    execute_process(COMMAND "${W8A8_NVIDIA_SMI}" --query-gpu=compute_cap --format=csv,noheader
                    OUTPUT_VARIABLE answer ERROR_QUIET RESULT_VARIABLE status)
    if(status EQUAL 0)
      string(REGEX MATCHALL "[0-9]+\\.[0-9]" capabilities "${answer}")
      list(TRANSFORM capabilities REPLACE "\\." "")
      list(REMOVE_DUPLICATES capabilities)
      list(FILTER capabilities INCLUDE REGEX "^([89]|1[0-9])[0-9]$")
      list(TRANSFORM capabilities REPLACE "^90$" "90a")
      list(TRANSFORM capabilities APPEND "-real" OUTPUT_VARIABLE found)
    endif()
  endif()
  if(NOT found)
    set(found "80-virtual")  # quick to compile; PTX that every supported GPU can run, without the Hopper kernels
  endif()
  set(${result} "${found}" PARENT_SCOPE)
endfunction()

if(W8A8_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES ${W8A8_CUDA_ARCHITECTURES})
elseif("${CMAKE_CUDA_ARCHITECTURES}" STREQUAL "" AND NOT DEFINED ENV{CUDAARCHS})
  w8a8_default_architectures(CMAKE_CUDA_ARCHITECTURES)
endif()
enable_language(CUDA)
message(STATUS "w8a8: CUDA ${CMAKE_CUDA_COMPILER_VERSION}, architectures ${CMAKE_CUDA_ARCHITECTURES}")

# Warnings of our own code; the headers of others are system headers. GCC 12's -Wmaybe-uninitialized sees ghosts in std::string.
add_library(w8a8_warnings INTERFACE)
target_compile_options(w8a8_warnings INTERFACE
  "$<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;$<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>>"
  "$<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall,-Wextra>"
  "$<$<AND:$<COMPILE_LANGUAGE:CUDA>,$<CXX_COMPILER_ID:GNU>>:-Xcompiler=-Wno-maybe-uninitialized>")
if(W8A8_WERROR)
  target_compile_options(w8a8_warnings INTERFACE
    "$<$<COMPILE_LANGUAGE:CXX>:-Werror>"
    "$<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Werror;--Werror=all-warnings>")
endif()

# w8a8_program(NAME SOURCES...): an executable on top of the library.
function(w8a8_program name)
  add_executable(${name} ${ARGN})
  target_link_libraries(${name} PRIVATE w8a8::w8a8 w8a8_warnings)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}")
endfunction()
