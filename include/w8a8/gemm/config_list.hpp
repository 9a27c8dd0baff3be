// A compile-time list of kernel configurations, reached at run time by index or by name.
#pragma once

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
    int index = 0, found = -1;
    ((Configs::name() == name ? void(found = index++) : void(index++)), ...);
    return found;
  }

  /// Calls f(Config{}) with the configuration at `index`, 0 <= index < size.
  template <class F>
  static void visit(int index, F&& f) {
    int i = 0;
    (void)((i++ == index ? (f(Configs{}), true) : false) || ...);
  }
};

}  // namespace w8a8
