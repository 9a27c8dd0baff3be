// The forms of quantization that the suite `quantize` measures, and the bytes that each of them moves.
#pragma once

#include <string>
#include <vector>

namespace w8a8::bench {

enum class QuantizeKind { per_token, per_tensor, asymmetric, rms_norm, layer_norm, silu_mul, gelu_tanh, gelu_erf };

/// M x K of half to M x K codes. A launch reads `inputs` matrices and, with `residual`, the residual stream, which it updates;
/// with `values` it writes what it quantizes (normalised, or activated) as half, too.
struct QuantizeForm {
  const char* name;
  const char* function;  ///< of the library
  QuantizeKind kind;
  int inputs;
  bool residual, values;

  bool has_scale() const { return kind != QuantizeKind::per_tensor; }
  bool has_zero_point() const { return kind == QuantizeKind::asymmetric; }
  int vectors() const { return kind == QuantizeKind::rms_norm ? 1 : kind == QuantizeKind::layer_norm ? 2 : 0; }

  /// Bytes that a launch must move: operands and results once each.
  double bytes(double m, double k) const {
    return m * k * (2.0 * inputs + (residual ? 4 : 0) + (values ? 2 : 0) + 1) + 2.0 * k * vectors() +
           4.0 * m * (has_scale() + has_zero_point());
  }
};

inline const std::vector<QuantizeForm>& quantize_forms() {
  static const std::vector<QuantizeForm> forms = {
      {"per_token", "quantize_per_token", QuantizeKind::per_token, 1, false, false},
      {"per_tensor", "quantize_per_tensor", QuantizeKind::per_tensor, 1, false, false},
      {"asymmetric", "quantize_per_token_asymmetric", QuantizeKind::asymmetric, 1, false, false},
      {"rms_norm", "rms_norm_quantize", QuantizeKind::rms_norm, 1, false, false},
      {"rms_norm_out", "rms_norm_quantize", QuantizeKind::rms_norm, 1, false, true},
      {"rms_residual", "rms_norm_quantize", QuantizeKind::rms_norm, 1, true, false},
      {"rms_residual_out", "rms_norm_quantize", QuantizeKind::rms_norm, 1, true, true},
      {"layer_norm", "layer_norm_quantize", QuantizeKind::layer_norm, 1, false, false},
      {"layer_norm_out", "layer_norm_quantize", QuantizeKind::layer_norm, 1, false, true},
      {"silu_mul", "silu_mul_quantize", QuantizeKind::silu_mul, 2, false, false},
      {"silu_mul_out", "silu_mul_quantize", QuantizeKind::silu_mul, 2, false, true},
      {"gelu_tanh", "gelu_quantize", QuantizeKind::gelu_tanh, 1, false, false},
      {"gelu_tanh_out", "gelu_quantize", QuantizeKind::gelu_tanh, 1, false, true},
      {"gelu_erf", "gelu_quantize", QuantizeKind::gelu_erf, 1, false, false},
      {"gelu_erf_out", "gelu_quantize", QuantizeKind::gelu_erf, 1, false, true},
  };
  return forms;
}

/// The form of that name; null where there is none.
inline const QuantizeForm* find_quantize_form(const std::string& name) {
  for (const QuantizeForm& form : quantize_forms()) {
    if (form.name == name) return &form;
  }
  return nullptr;
}

}  // namespace w8a8::bench
