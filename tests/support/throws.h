// An exception of the expected type whose message says what a user needs.
#pragma once

#include <boost/test/unit_test.hpp>
#include <string>
#include <vector>

namespace tradewind::tests {

/// Fails unless `action` throws an E whose message holds every one of `parts`.
template <class E, class Action>
void check_throws(const Action& action, const std::vector<std::string>& parts) {
  try {
    action();
    BOOST_ERROR("nothing was thrown");
  } catch (const E& error) {
    for (const std::string& part : parts)
      BOOST_CHECK_MESSAGE(std::string(error.what()).find(part) != std::string::npos,
                          "\"" << error.what() << "\" does not say \"" << part << "\"");
  }
}

}  // namespace tradewind::tests
