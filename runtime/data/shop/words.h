// What the demo shop's goods are called, in English and Chinese.
#pragma once

#include <string_view>

namespace tradewind::runtime::shop {

struct Words {
  std::string_view english, chinese;
};

struct CategoryWords {
  Words name;
  double price;  // euros, of a plain one
  Words use;
};

/// Categories are ten to a department, in its order.
inline constexpr int kDepartments = 5;
const CategoryWords& category_words(int category);
const Words& department_words(int department);
const Words& style_words(int style);

}  // namespace tradewind::runtime::shop
