// What a call throws, as text: Catch2's own matchers go by other names in its version 3.
#pragma once

#include <exception>
#include <string>

namespace w8a8_test {

/// what() of the exception that f throws, or "no exception".
template <class F>
std::string error_text(F&& f) {
  try {
    f();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "no exception";
}

inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

inline bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

}  // namespace w8a8_test
