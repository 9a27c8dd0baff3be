// Catch2 2.13 and 3.x behind one include: test macros, template tests, generators, Approx, and tests that skip.
#pragma once

#if __has_include(<catch2/catch_test_macros.hpp>)

#include <catch2/catch_approx.hpp>
#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

using Catch::Approx;  // where Catch2 2 has it

/// Ends the test case as skipped. Only in the body of a test case.
#define W8A8_SKIP(reason) SKIP("skipped: " reason)

#else

#include <catch2/catch.hpp>

namespace w8a8_test {
/// Counts the running test case as skipped; see main.cpp.
void mark_skipped(const char* reason);
}  // namespace w8a8_test

#define W8A8_SKIP(reason)              \
  do {                                 \
    ::w8a8_test::mark_skipped(reason); \
    return;                            \
  } while (false)

#endif
