// Encoders: how a row of FP32 values becomes codes. An encoder has
//
//   static constexpr int words;                                 unsigned words whose maximum over the row decides the scale
//   static void widen(std::uint32_t (&extent)[words], const Group<T>&);   takes a group into them (they start at zero)
//   Coder coder(extent, row, store) const;                    the row's coder; with `store` it also writes the row's scale
//
// and its coder `void encode(const Group<float>&, Group<std::int8_t>&) const`. All of it host/device.
#pragma once

#include <cstdint>
#include <cstring>
#include <nv/target>

#include "w8a8/quant/row.hpp"
#include "w8a8/quant/scale.hpp"
#include "w8a8/support/config.hpp"
#include "w8a8/support/floating_point.hpp"

namespace w8a8::detail {

/// The low bytes of four words, the first one lowest.
W8A8_HOST_DEVICE std::uint32_t pack_low_bytes(std::uint32_t a, std::uint32_t b, std::uint32_t c, std::uint32_t d) {
  NV_IF_ELSE_TARGET(NV_IS_DEVICE, (return __byte_perm(__byte_perm(a, b, 0x0040), __byte_perm(c, d, 0x0040), 0x5410);),
                    (return (a & 0xff) | (b & 0xff) << 8 | (c & 0xff) << 16 | (d & 0xff) << 24;))
}

/// Codes clamp(rint(x * inverse), -limit, limit).
struct SymmetricCoder {
  float inverse;
  int limit;
  bool within;  ///< no product of the row leaves [-limit, limit] by rounding, and none is a NaN

  W8A8_HOST_DEVICE void encode(const Group<float>& x, Group<std::int8_t>& codes) const {
    NV_IF_TARGET(NV_IS_DEVICE, (if (within) {
                   encode_within(x, codes);
                   return;
                 }))
    for (int i = 0; i < group_size; ++i) codes[i] = quantize_value(x[i], inverse, limit);
  }

 private:
  // Device only: a host compiler may contract a multiplication and the addition that follows at once.
  W8A8_HOST_DEVICE void encode_within(const Group<float>& x, Group<std::int8_t>& codes) const {
    std::uint32_t word[group_size], packed[2];
    for (int i = 0; i < group_size; ++i) word[i] = code_bits(multiply(x[i], inverse));
    for (int i = 0; i < 2; ++i) packed[i] = pack_low_bytes(word[4 * i], word[4 * i + 1], word[4 * i + 2], word[4 * i + 3]);
    std::memcpy(&codes, packed, sizeof codes);
  }
};

/// Two 16-bit floats' magnitudes and the running ones', pairwise; a NaN stays.
W8A8_HOST_DEVICE __half2 widen_pair(__half2 most, __half2 x) { return __hmax2_nan(most, __habs2(x)); }
W8A8_HOST_DEVICE __nv_bfloat162 widen_pair(__nv_bfloat162 most, __nv_bfloat162 x) { return __hmax2_nan(most, __habs2(x)); }

/// The largest magnitude_bits of a group.
template <class T>
W8A8_HOST_DEVICE std::uint32_t group_magnitude(const Group<T>& x) {
  if constexpr (sizeof(T) == 2) {
    // Packed, so that the device need not widen the elements twice and keep them wide in between.
    NV_IF_TARGET(NV_IS_DEVICE, (using Pair = std::conditional_t<std::is_same_v<T, half>, __half2, __nv_bfloat162>; Pair pair[4];
                                std::memcpy(pair, &x, sizeof pair);
                                const Pair most = widen_pair(widen_pair(widen_pair(__habs2(pair[0]), pair[1]), pair[2]), pair[3]);
                                return max_of(magnitude_bits(to_float(most.x)), magnitude_bits(to_float(most.y)));))
  }
  std::uint32_t most = 0;
  for (int i = 0; i < group_size; ++i) most = max_of(most, magnitude_bits(to_float(x[i])));
  return most;
}

/// A scale a row from the row's absmax.
template <class Scale>
struct DynamicEncoder {
  static constexpr int words = 1;

  Scale* scale;
  int bits;

  template <class T>
  W8A8_HOST_DEVICE static void widen(std::uint32_t (&extent)[words], const Group<T>& x) {
    extent[0] = max_of(extent[0], group_magnitude(x));
  }

  W8A8_HOST_DEVICE SymmetricCoder coder(const std::uint32_t (&extent)[words], std::int64_t row, bool store) const {
    const Scale stored = scale_from_magnitude<Scale>(extent[0], bits);
    if (store) scale[row] = stored;
    const float inverse = inverse_scale(to_float(stored));
    const float largest = multiply(float_from_bits(extent[0]), inverse);  // NaN for a row that is not finite
    return {inverse, qmax(bits), largest < static_cast<float>(qmax(bits)) + 0.5f};
  }
};

/// Codes clamp(rint(x * inverse) + zero_point, low, high).
struct AsymmetricCoder {
  float inverse;
  int zero_point, low, high;
  bool finite;

  W8A8_HOST_DEVICE void encode(const Group<float>& x, Group<std::int8_t>& codes) const {
    const float below = static_cast<float>(low - zero_point), above = static_cast<float>(high - zero_point);
    std::uint32_t word[group_size], packed[2];
    for (int i = 0; i < group_size; ++i) {
      // Clamped before it is rounded: the bounds are whole, so that the code is the same. A NaN product (0 times an infinite
      // inverse cannot be; a row that is not finite can) is not below and not above.
      float y = multiply(x[i], inverse);
      y = y < below ? below : (y > above ? above : y);
      word[i] = finite ? code_bits(y) + static_cast<std::uint32_t>(zero_point) : 0;
    }
    for (int i = 0; i < 2; ++i) packed[i] = pack_low_bytes(word[4 * i], word[4 * i + 1], word[4 * i + 2], word[4 * i + 3]);
    std::memcpy(&codes, packed, sizeof codes);
  }
};

/// A scale and a zero point a row, from the row's largest and smallest element.
template <class Scale>
struct AsymmetricEncoder {
  static constexpr int words = 2;  // magnitude of max(0, x) and of max(0, -x); a NaN counts in both

  Scale* scale;
  std::int32_t* zero_point;
  int bits;

  template <class T>
  W8A8_HOST_DEVICE static void widen(std::uint32_t (&extent)[words], const Group<T>& x) {
    for (int i = 0; i < group_size; ++i) {
      const std::uint32_t v = float_bits(to_float(x[i])), magnitude = v & 0x7fffffffu;
      const bool negative = v != magnitude;
      const std::uint32_t rises = negative && !is_nonfinite_magnitude(magnitude) ? 0 : magnitude;
      extent[0] = max_of(extent[0], rises);
      extent[1] = max_of(extent[1], negative ? magnitude : 0);
    }
  }

  W8A8_HOST_DEVICE AsymmetricCoder coder(const std::uint32_t (&extent)[words], std::int64_t row, bool store) const {
    const AsymmetricScale<Scale> s = asymmetric_scale<Scale>(extent[0], extent[1], bits);
    if (store) {
      scale[row] = s.scale;
      zero_point[row] = s.zero_point;
    }
    return {inverse_scale(to_float(s.scale)), s.zero_point, -(1 << (bits - 1)), qmax(bits), s.finite};
  }
};

/// One given scale for all rows: nothing of the row is looked at.
struct StaticEncoder {
  static constexpr int words = 0;

  float inverse;
  int limit;

  W8A8_HOST_DEVICE SymmetricCoder coder() const { return {inverse, limit, false}; }
};

/// The coder of a row, from its extent where the encoder has one.
template <class Encoder, class Extent>
W8A8_HOST_DEVICE auto make_coder(const Encoder& encoder, const Extent& extent, std::int64_t row, bool store) {
  if constexpr (Encoder::words == 0) {
    return encoder.coder();
  } else {
    return encoder.coder(extent.word, row, store);
  }
}

/// The words of an encoder, at least one so that the array exists.
template <class Encoder>
struct Extent {
  std::uint32_t word[Encoder::words > 0 ? Encoder::words : 1] = {};
};

}  // namespace w8a8::detail
