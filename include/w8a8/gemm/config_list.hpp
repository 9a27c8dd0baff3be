// A compile-time list of kernel configurations, reached at run time by index or by name.
#pragma once

#include <cstddef>
#include <string>
#include <type_traits>
#include <vector>

namespace w8a8 {

/// Configs: types with `static std::string name()`. The order of the list is the order of the indices in the tuning tables.
template <class... Configs>
struct ConfigList {
  static constexpr int size = sizeof...(Configs);

  static std::vector<std::string> names() { return {Configs::name()...}; }

  /// The index of `Config`, or -1.
  template <class Config>
  static constexpr int index_of() {
    int index = 0, found = -1;
    ((std::is_same_v<Config, Configs> ? void(found = index++) : void(index++)), ...);
    return found;
  }

  /// The index of the configuration of that name, or -1.
  static int find(const std::string& name) {
    static const std::vector<std::string> all = names();  // a call that follows a tuning table looks for a name each time
    for (int index = 0; index < size; ++index) {
      if (all[static_cast<std::size_t>(index)] == name) return index;
    }
    return -1;
  }

  /// Calls f(Config{}) with the configuration at `index`, 0 <= index < size.
  template <class F>
  static void visit(int index, F&& f) {
    int i = 0;
    (void)((i++ == index ? (f(Configs{}), true) : false) || ...);
  }
};

}  // namespace w8a8
