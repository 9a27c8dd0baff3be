// The INT8 layers on the GPU: w8a8_linear.hpp with the device's kernels behind it.
#pragma once

#include "w8a8/gemm/gemm.cuh"
#include "w8a8/nn/w8a8_linear.hpp"
#include "w8a8/quant/quantize.cuh"
