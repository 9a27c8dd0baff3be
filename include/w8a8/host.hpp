// All of w8a8 that needs no nvcc, but for io/, which needs nlohmann/json.
#pragma once

#include "w8a8/epilogue/activation.hpp"
#include "w8a8/epilogue/dequantize.hpp"
#include "w8a8/epilogue/gated.hpp"
#include "w8a8/epilogue/requantize.hpp"
#include "w8a8/epilogue/residual.hpp"
#include "w8a8/epilogue/zero_point.hpp"
#include "w8a8/gemm/host_gemm.hpp"
#include "w8a8/nn/w8a8_linear.hpp"
#include "w8a8/quant/asymmetric.hpp"
#include "w8a8/quant/fused.hpp"
#include "w8a8/quant/quantize.hpp"
#include "w8a8/support/device.hpp"
#include "w8a8/tensor/tensor.hpp"
