# cmake -DNVCC=... -DCONSUMER=... -DINCLUDE=... -DWORK=... -P copied_folder.cmake
# The include folder copied into a project without CMake: nvcc alone compiles, links and the program runs.
file(REMOVE_RECURSE "${WORK}")
file(COPY "${INCLUDE}/w8a8" DESTINATION "${WORK}/third_party")
file(GLOB sources "${CONSUMER}/*.cu" "${CONSUMER}/*.cpp")
execute_process(COMMAND "${NVCC}" -std=c++17 -O0 -arch=sm_80 "-I${WORK}/third_party" ${sources} -o "${WORK}/consumer"
                RESULT_VARIABLE status)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "the consumer does not build")
endif()
execute_process(COMMAND "${WORK}/consumer" RESULT_VARIABLE status)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "the consumer does not run: ${status}")
endif()
