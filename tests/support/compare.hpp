// Comparison bit for bit: a NaN equals only the same NaN, -0 is not 0.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iomanip>
#include <sstream>
#include <string>
#include <vector>

#include "w8a8/support/floating_point.hpp"

namespace w8a8_test {

template <class T>
std::string value_and_bits(const T& value) {
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  std::ostringstream out;
  if constexpr (w8a8::is_floating_v<T>) {
    out << w8a8::to_float(value);
  } else {
    out << static_cast<double>(value);
  }
  out << " (0x" << std::hex << std::setfill('0') << std::setw(2 * static_cast<int>(sizeof(T))) << bits << ")";
  return out.str();
}

/// The bits of a 16-bit float as an integer that orders as the values do: neighbours differ by 1.
template <class T>
int ordinal(T value) {
  std::uint16_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits & 0x8000 ? -static_cast<int>(bits & 0x7fff) : static_cast<int>(bits);
}

/// Distance in ulps of T between a value and a double rounded to T.
template <class T>
int ulps(T value, double exact) {
  return std::abs(ordinal(value) - ordinal(w8a8::from_float<T>(static_cast<float>(exact))));
}

/// Empty where the two arrays agree in every bit; else the count of differences and the first one, as row and column where
/// `columns` > 0. Use as CHECK(difference(expected, actual, n) == "").
template <class T>
std::string difference(const std::vector<T>& expected, const std::vector<T>& actual, std::int64_t columns = 0) {
  if (expected.size() != actual.size()) {
    return "sizes differ: " + std::to_string(expected.size()) + " expected, " + std::to_string(actual.size()) + " came";
  }
  std::size_t count = 0, first = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (std::memcmp(&expected[i], &actual[i], sizeof(T)) != 0 && count++ == 0) first = i;
  }
  if (count == 0) return "";
  std::ostringstream out;
  out << count << " of " << expected.size() << " differ, first at ";
  if (columns > 0) {
    out << "(" << first / static_cast<std::size_t>(columns) << ", " << first % static_cast<std::size_t>(columns) << ")";
  } else {
    out << first;
  }
  out << ": expected " << value_and_bits(expected[first]) << ", got " << value_and_bits(actual[first]);
  return out.str();
}

}  // namespace w8a8_test
