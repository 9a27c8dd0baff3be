// The INT8 layer for inputs with outliers on the GPU: asymmetric_linear.hpp with the device's kernels behind it.
#pragma once

#include "w8a8/nn/asymmetric_linear.hpp"
#include "w8a8/nn/w8a8_linear.cuh"
#include "w8a8/quant/asymmetric.cuh"
