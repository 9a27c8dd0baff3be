// All of w8a8.
#pragma once

#include "w8a8/gemm/gemm.cuh"
#include "w8a8/host.hpp"
