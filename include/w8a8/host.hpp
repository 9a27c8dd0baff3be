// All of w8a8 that needs no nvcc.
#pragma once

#include "w8a8/epilogue/activation.hpp"
#include "w8a8/epilogue/dequantize.hpp"
#include "w8a8/gemm/host_gemm.hpp"
#include "w8a8/quant/scale.hpp"
#include "w8a8/support/device.hpp"
#include "w8a8/tensor/tensor.hpp"
