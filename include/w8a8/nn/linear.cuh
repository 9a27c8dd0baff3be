// Floating-point linear layers on the GPU: linear.hpp with the device's GEMM behind it.
#pragma once

#include "w8a8/gemm/gemm.cuh"
#include "w8a8/nn/linear.hpp"
