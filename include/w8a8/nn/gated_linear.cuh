// The gated INT8 layer on the GPU: gated_linear.hpp with the device's kernels behind it.
#pragma once

#include "w8a8/nn/gated_linear.hpp"
#include "w8a8/nn/w8a8_linear.cuh"
