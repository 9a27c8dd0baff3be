// Activation functors, in FP32, on the functions of math/activation.hpp. Relu is exact; of the others, host and GPU may differ
// in the last FP32 bits.
#pragma once

#include <cstdint>

#include "w8a8/epilogue/concept.hpp"
#include "w8a8/math/activation.hpp"
#include "w8a8/support/config.hpp"

namespace w8a8 {

/// Epilogue functor: gelu_tanh of the value.
struct Gelu : EpilogueFunctor {
  W8A8_HOST_DEVICE float apply(float value, Empty, Empty, std::int64_t, std::int64_t) const { return gelu_tanh(value); }
};

/// Epilogue functor: gelu_erf of the value.
struct GeluErf : EpilogueFunctor {
  W8A8_HOST_DEVICE float apply(float value, Empty, Empty, std::int64_t, std::int64_t) const { return gelu_erf(value); }
};

/// Epilogue functor: silu of the value.
struct Silu : EpilogueFunctor {
  W8A8_HOST_DEVICE float apply(float value, Empty, Empty, std::int64_t, std::int64_t) const { return silu(value); }
};

/// Epilogue functor: relu of the value.
struct Relu : EpilogueFunctor {
  W8A8_HOST_DEVICE float apply(float value, Empty, Empty, std::int64_t, std::int64_t) const { return relu(value); }
};

}  // namespace w8a8
