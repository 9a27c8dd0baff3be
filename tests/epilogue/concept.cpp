// Functors compose from left to right, states are handed to the functor that made them, and empty states take no space.
#include "w8a8/epilogue/concept.hpp"

#include <cstdint>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "support/catch.hpp"
#include "w8a8/epilogue/dequantize.hpp"
#include "w8a8/epilogue/residual.hpp"
#include "w8a8/epilogue/zero_point.hpp"
#include "w8a8/support/error.hpp"

using namespace w8a8;

namespace {

struct Half : EpilogueFunctor {
  float apply(float value, Empty, Empty, std::int64_t, std::int64_t) const { return 0.5f * value; }
};

struct PlusOne : EpilogueFunctor {
  float apply(float value, Empty, Empty, std::int64_t, std::int64_t) const { return value + 1.0f; }
};

struct ToFloat : EpilogueFunctor {
  float apply(std::int32_t value, Empty, Empty, std::int64_t, std::int64_t) const { return static_cast<float>(value); }
};

/// Adds 100 * row + column * weight, through states of different types, and checks that they match the coordinates.
template <int Weight>
struct Position : EpilogueFunctor {
  struct RowState {
    std::int64_t m;
  };
  using ColumnState = double;
  RowState row(std::int64_t m) const { return {m}; }
  double column(std::int64_t n) const { return static_cast<double>(n) * Weight; }
  float apply(float value, RowState r, double c, std::int64_t m, std::int64_t n) const {
    if (r.m != m || c != static_cast<double>(n) * Weight) throw std::logic_error("another functor's state");
    return value + 100.0f * static_cast<float>(m) + static_cast<float>(c);
  }
};

struct Refuse : EpilogueFunctor {
  void validate(const char* function, std::int64_t rows, std::int64_t columns) const {
    throw Error(function, "refuse", "nothing", text(rows, "x", columns));
  }
  template <class Value>
  Value apply(Value value, Empty, Empty, std::int64_t, std::int64_t) const {
    return value;
  }
};

template <class Epilogue, class Value>
auto run(const Epilogue& epilogue, Value value, std::int64_t m = 0, std::int64_t n = 0) {
  return epilogue.apply(value, epilogue.row(m), epilogue.column(n), m, n);
}

}  // namespace

TEST_CASE("functors apply from left to right", "[epilogue]") {
  CHECK(run(Half{} | PlusOne{}, 4.0f) == 3.0f);
  CHECK(run(PlusOne{} | Half{}, 4.0f) == 2.5f);
  CHECK(run(ToFloat{} | PlusOne{} | Half{} | PlusOne{}, 5) == 4.0f);
  CHECK(run((ToFloat{} | PlusOne{}) | (Half{} | PlusOne{}), 5) == 4.0f);
}

TEST_CASE("each functor of a chain gets the states it made", "[epilogue]") {
  const auto chain = ToFloat{} | Position<1>{} | Half{} | Position<3>{};
  CHECK(run(chain, 10, 2, 7) == 0.5f * (10.0f + 200.0f + 7.0f) + 200.0f + 21.0f);
}

TEST_CASE("Empty states take no space in a composition", "[epilogue]") {
  using Stateless = decltype(Half{} | PlusOne{});
  STATIC_REQUIRE(std::is_empty_v<Stateless::RowState>);
  STATIC_REQUIRE(std::is_empty_v<Stateless::ColumnState>);
  using One = decltype(Half{} | Position<1>{} | PlusOne{});
  STATIC_REQUIRE(sizeof(One::RowState) == sizeof(std::int64_t));
  STATIC_REQUIRE(sizeof(One::ColumnState) == sizeof(double));
  using Two = decltype(Position<1>{} | Position<2>{});
  STATIC_REQUIRE(sizeof(Two::ColumnState) == 2 * sizeof(double));
}

TEST_CASE("states of a composition can be stored by kernels", "[epilogue]") {
  using Chain = decltype(ToFloat{} | Position<1>{} | Half{} | Position<3>{});
  STATIC_REQUIRE(std::is_trivially_copyable_v<Chain::RowState>);
  STATIC_REQUIRE(std::is_trivially_copyable_v<Chain::ColumnState>);
  STATIC_REQUIRE(std::is_default_constructible_v<Chain::RowState>);
  STATIC_REQUIRE(std::is_default_constructible_v<Chain::ColumnState>);
  STATIC_REQUIRE(std::is_trivially_copyable_v<Chain>);  // it is a kernel parameter
}

TEST_CASE("validate reaches every functor of a chain", "[epilogue]") {
  CHECK_NOTHROW((Half{} | PlusOne{}).validate("gemm", 3, 4));
  for (const auto& check :
       {+[] { (Half{} | Refuse{}).validate("gemm", 3, 4); }, +[] { (Refuse{} | Half{}).validate("gemm", 3, 4); },
        +[] { (Half{} | (PlusOne{} | Refuse{})).validate("gemm", 3, 4); }}) {
    try {
      check();
      FAIL("did not throw");
    } catch (const Error& error) {
      CHECK(error.argument() == "refuse");
      CHECK(error.function() == "gemm");
      CHECK(error.received() == "3x4");
    }
  }
}

TEST_CASE("Identity hands the accumulator through", "[epilogue]") {
  const auto value = run(Identity{}, std::int32_t{-123456789});
  STATIC_REQUIRE(std::is_same_v<decltype(value), const std::int32_t>);
  CHECK(value == -123456789);
  CHECK(store_value<std::int32_t>(value) == -123456789);
}

TEST_CASE("store_value rounds once to the output type", "[epilogue]") {
  CHECK(to_float(store_value<half>(1.0f + 0x1p-11f)) == 1.0f);  // a tie, to even
  CHECK(to_float(store_value<half>(1.0f + 0x1.8p-11f)) == 1.0f + 0x1p-10f);
  CHECK(to_float(store_value<bfloat16>(1.0f + 0x1p-8f)) == 1.0f);
  CHECK(store_value<float>(1.0f + 0x1p-23f) == 1.0f + 0x1p-23f);
  CHECK(float_bits(store_value<float>(float_from_bits(0xffc00000u))) == 0x7fffffffu);
}

TEST_CASE("a chain lies in the memory space of all its functors that read memory", "[epilogue]") {
  using HostScales = Dequantize<float, half, Host>;
  using DeviceScales = Dequantize<float, half, Device>;
  STATIC_REQUIRE(reads_only_v<Half, Host>);
  STATIC_REQUIRE(reads_only_v<Half, Device>);
  STATIC_REQUIRE(reads_only_v<HostScales, Host>);
  STATIC_REQUIRE_FALSE(reads_only_v<HostScales, Device>);
  STATIC_REQUIRE_FALSE(reads_only_v<Residual<half, Host>, Device>);
  STATIC_REQUIRE_FALSE(reads_only_v<ZeroPoint<Host>, Device>);
  STATIC_REQUIRE(reads_only_v<Composed<Composed<DeviceScales, Bias<half, Device>>, Half>, Device>);
  STATIC_REQUIRE_FALSE(reads_only_v<Composed<Composed<DeviceScales, Bias<half, Device>>, Half>, Host>);
  STATIC_REQUIRE_FALSE(reads_only_v<Composed<Composed<DeviceScales, Bias<half, Host>>, Half>, Device>);
}

TEST_CASE("only what derives from EpilogueFunctor is an epilogue", "[epilogue]") {
  struct NoFunctor {};
  STATIC_REQUIRE(is_epilogue_v<Half>);
  STATIC_REQUIRE(is_epilogue_v<decltype(Half{} | PlusOne{})>);
  STATIC_REQUIRE_FALSE(is_epilogue_v<NoFunctor>);
  STATIC_REQUIRE_FALSE(is_epilogue_v<float>);
}
