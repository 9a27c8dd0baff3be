// Encoders: how a row of FP32 values becomes codes. An encoder has
//
//   static constexpr int words;                                 unsigned words whose maximum over the row decides the scale
//   static void widen(std::uint32_t (&extent)[words], const Values&);   takes a group into them (they start at zero)
//   Coder coder(extent, row, store) const;                    the row's coder; with `store` it also writes the row's scale
//
// and its coder `Group<std::int8_t> encode(const Values&) const`. All of it host/device.
#pragma once

#include <cstdint>
#include <cstring>
#include <nv/target>

#include "w8a8/ptx/max_nan.hpp"
#include "w8a8/quant/row.hpp"
#include "w8a8/quant/scale.hpp"
#include "w8a8/support/config.hpp"
#include "w8a8/support/floating_point.hpp"

namespace w8a8::detail {

/// The low bytes of eight words.
W8A8_HOST_DEVICE Group<std::int8_t> pack_codes(const std::uint32_t (&code)[group_size]) {
  Group<std::int8_t> codes;
  for (int w = 0; w < 2; ++w) {
    const std::uint32_t a = code[4 * w], b = code[4 * w + 1], c = code[4 * w + 2], d = code[4 * w + 3];
    NV_IF_ELSE_TARGET(NV_IS_DEVICE, (codes.word[w] = __byte_perm(__byte_perm(a, b, 0x0040), __byte_perm(c, d, 0x0040), 0x5410);),
                      (codes.word[w] = (a & 0xff) | (b & 0xff) << 8 | (c & 0xff) << 16 | (d & 0xff) << 24;))
  }
  return codes;
}

/// Codes clamp(rint(x * inverse), -limit, limit).
struct SymmetricCoder {
  float inverse;
  int limit;
  bool within;  ///< no product of the row leaves [-limit, limit] by rounding, and none is a NaN

  /// Whether encode<true>() gives the codes too.
  W8A8_HOST_DEVICE bool fast() const { return within; }

  /// Fast, for the device alone: without the clamp. (A host compiler could contract the multiplication and the addition that then
  /// follows at once.)
  template <bool Fast>
  W8A8_HOST_DEVICE Group<std::int8_t> encode(const Values& x) const {
    std::uint32_t code[group_size];
    for (int i = 0; i < group_size; ++i) {
      if constexpr (Fast) {
        code[i] = code_bits(multiply(x[i], inverse));
      } else {
        code[i] = static_cast<std::uint32_t>(quantize_value(x[i], inverse, limit));
      }
    }
    return pack_codes(code);
  }
};

/// Two 16-bit floats' magnitudes and the running ones', pairwise; a NaN stays.
W8A8_HOST_DEVICE __half2 widen_pair(__half2 most, __half2 x) { return __hmax2_nan(most, __habs2(x)); }
W8A8_HOST_DEVICE __nv_bfloat162 widen_pair(__nv_bfloat162 most, __nv_bfloat162 x) { return __hmax2_nan(most, __habs2(x)); }

/// The largest magnitude_bits of a group; some word that is not finite where an element is not.
W8A8_HOST_DEVICE std::uint32_t group_magnitude(const Values& x) {
  NV_IF_ELSE_TARGET(
      NV_IS_DEVICE,
      (float most = 0.0f; for (int i = 0; i < group_size; ++i) most = ptx::max_nan(most, fabsf(x[i])); return float_bits(most);),
      (std::uint32_t most = 0; for (int i = 0; i < group_size; ++i) most = max_of(most, magnitude_bits(x[i])); return most;))
}

template <class T>
W8A8_HOST_DEVICE std::uint32_t group_magnitude(const Group<T>& x) {
  if constexpr (sizeof(T) == 2) {
    // Packed, so that the device need not widen the elements twice or keep them wide in between.
    NV_IF_TARGET(NV_IS_DEVICE, (Pair<T> most = __habs2(pair_of<T>(x.word[0]));
                                for (int w = 1; w < 4; ++w) most = widen_pair(most, pair_of<T>(x.word[w]));
                                return max_of(magnitude_bits(to_float(most.x)), magnitude_bits(to_float(most.y)));))
  }
  return group_magnitude(to_values(x));
}

/// A scale a row from the row's absmax.
template <class Scale>
struct DynamicEncoder {
  static constexpr int words = 1;
  using Coder = SymmetricCoder;

  Scale* scale;
  int bits;

  template <class G>
  W8A8_HOST_DEVICE static void widen(std::uint32_t (&extent)[words], const G& x) {
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
  bool within;  ///< finite, and no code of the row leaves [low, high] before it is clamped

  W8A8_HOST_DEVICE bool fast() const { return within; }

  template <bool Fast>
  W8A8_HOST_DEVICE Group<std::int8_t> encode(const Values& x) const {
    if (!Fast && !finite) return {};
    const float below = static_cast<float>(low - zero_point), above = static_cast<float>(high - zero_point);
    std::uint32_t code[group_size];
    for (int i = 0; i < group_size; ++i) {
      float y = multiply(x[i], inverse);
      // Clamped before it is rounded: the bounds are whole, so that the code is the same.
      if constexpr (!Fast) y = fminf(fmaxf(y, below), above);
      code[i] = code_bits(y) + static_cast<std::uint32_t>(zero_point);
    }
    return pack_codes(code);
  }
};

/// A scale and a zero point a row, from the row's largest and smallest element.
template <class Scale>
struct AsymmetricEncoder {
  using Coder = AsymmetricCoder;
  static constexpr int words = 2;  // magnitude of max(0, x) and of max(0, -x); a NaN counts in both

  Scale* scale;
  std::int32_t* zero_point;
  int bits;

  template <class T>
  W8A8_HOST_DEVICE static void widen(std::uint32_t (&extent)[words], const Group<T>& x) {
    if constexpr (sizeof(T) == 2) {
      NV_IF_TARGET(NV_IS_DEVICE, (
                                     Pair<T> high = pair_of<T>(x.word[0]), low = high; for (int w = 1; w < 4; ++w) {
                                       high = __hmax2_nan(high, pair_of<T>(x.word[w]));
                                       low = __hmin2_nan(low, pair_of<T>(x.word[w]));
                                     } widen(extent, ptx::max_nan(to_float(high.x), to_float(high.y)),
                                             ptx::max_nan(-to_float(low.x), -to_float(low.y)));
                                     return;))
    }
    widen(extent, to_values(x));
  }

  W8A8_HOST_DEVICE static void widen(std::uint32_t (&extent)[words], const Values& x) {
    NV_IF_ELSE_TARGET(NV_IS_DEVICE,
                      (
                          float high = x[0], low = -x[0]; for (int i = 1; i < group_size; ++i) {
                            high = ptx::max_nan(high, x[i]);
                            low = ptx::max_nan(low, -x[i]);
                          } widen(extent, high, low);),
                      (for (int i = 0; i < group_size; ++i) {
                        const std::uint32_t magnitude = magnitude_bits(x[i]);
                        const int side = float_bits(x[i]) != magnitude;  // by the sign
                        extent[side] = max_of(extent[side], magnitude);
                      }))
  }

  W8A8_HOST_DEVICE AsymmetricCoder coder(const std::uint32_t (&extent)[words], std::int64_t row, bool store) const {
    const AsymmetricScale<Scale> s = asymmetric_scale<Scale>(extent[0], extent[1], bits);
    if (store) {
      scale[row] = s.scale;
      zero_point[row] = s.zero_point;
    }
    const float inverse = inverse_scale(to_float(s.scale));
    const int lowest = -(1 << (bits - 1)), highest = qmax(bits);
    const bool within = multiply(float_from_bits(extent[0]), inverse) < static_cast<float>(highest - s.zero_point) + 0.5f &&
                        multiply(float_from_bits(extent[1]), inverse) < static_cast<float>(s.zero_point - lowest) + 0.5f;
    return {inverse, s.zero_point, lowest, highest, s.finite, s.finite && within};
  }

 private:
  /// Takes a group's largest element and its largest negated one, NaNs where it holds one.
  W8A8_HOST_DEVICE static void widen([[maybe_unused]] std::uint32_t (&extent)[words], [[maybe_unused]] float high,
                                     [[maybe_unused]] float low) {
    NV_IF_TARGET(NV_IS_DEVICE, (extent[0] = max_of(extent[0], magnitude_bits(ptx::max_nan(high, 0.0f)));
                                extent[1] = max_of(extent[1], magnitude_bits(ptx::max_nan(low, 0.0f)));))
  }
};

/// One given scale for all rows: nothing of the row is looked at.
struct StaticEncoder {
  static constexpr int words = 0;
  using Coder = SymmetricCoder;

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
