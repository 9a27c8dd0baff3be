// All of w8a8, but for io/, which needs nlohmann/json.
#pragma once

#include "w8a8/gemm/gemm.cuh"
#include "w8a8/host.hpp"
#include "w8a8/nn/asymmetric_linear.cuh"
#include "w8a8/nn/fake_w8a8_linear.cuh"
#include "w8a8/nn/gated_linear.cuh"
#include "w8a8/nn/linear.cuh"
#include "w8a8/nn/w8a8_linear.cuh"
#include "w8a8/quant/asymmetric.cuh"
#include "w8a8/quant/fake_quantize.cuh"
#include "w8a8/quant/fused.cuh"
#include "w8a8/quant/quantize.cuh"
