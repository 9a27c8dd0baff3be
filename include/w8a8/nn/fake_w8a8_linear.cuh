// Fake quantization of models on the GPU: fake_w8a8_linear.hpp with the device's kernels behind it.
#pragma once

#include "w8a8/nn/fake_w8a8_linear.hpp"
#include "w8a8/nn/linear.cuh"
#include "w8a8/quant/fake_quantize.cuh"
