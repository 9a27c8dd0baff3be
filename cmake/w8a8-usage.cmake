# What a consumer of the headers needs, said once for the build tree and for the installed package. Expects that
# find_package(CUDAToolkit) has run. BUILD_INTERFACE keeps this machine's paths out of the installed package, which calls the
# function again where it is found.
function(w8a8_set_usage target)
  find_package(Threads REQUIRED)

  # The CUDA runtime of the flavour that the consumer's own .cu files use: static unless it says otherwise.
  set(shared "$<STREQUAL:$<TARGET_PROPERTY:CUDA_RUNTIME_LIBRARY>,Shared>")
  target_link_libraries(${target} INTERFACE "$<BUILD_INTERFACE:$<IF:${shared},CUDA::cudart,CUDA::cudart_static>>"
                                            "$<BUILD_INTERFACE:Threads::Threads>")

  # Only io/ needs it.
  find_package(nlohmann_json 3.10 QUIET)
  if(TARGET nlohmann_json::nlohmann_json)
    target_link_libraries(${target} INTERFACE "$<BUILD_INTERFACE:nlohmann_json::nlohmann_json>")
  endif()

  # CUDA 13 keeps libcu++ and CUB in a folder of their own, which nvcc finds and a host compiler does not.
  set(includes ${CUDAToolkit_INCLUDE_DIRS})
  foreach(dir IN LISTS CUDAToolkit_INCLUDE_DIRS)
    if(IS_DIRECTORY "${dir}/cccl")
      list(APPEND includes "${dir}/cccl")
    endif()
  endforeach()
  list(REMOVE_DUPLICATES includes)
  target_include_directories(${target} SYSTEM INTERFACE "$<BUILD_INTERFACE:$<$<COMPILE_LANGUAGE:CXX>:${includes}>>")

  target_compile_features(${target} INTERFACE "$<BUILD_INTERFACE:cxx_std_17>")

  # The numerics contract fixes every rounding: a host compiler must not fuse a multiply with an add by itself.
  target_compile_options(${target} INTERFACE
    "$<BUILD_INTERFACE:$<$<COMPILE_LANG_AND_ID:CXX,GNU,Clang,AppleClang>:-ffp-contract=off>>"
    "$<BUILD_INTERFACE:$<$<COMPILE_LANG_AND_ID:CUDA,NVIDIA>:-Xcompiler=-ffp-contract=off>>")
endfunction()
