// Several ranks learn on a shop's log what one does.
#pragma once

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "tests/support/event_shop.h"
#include "tests/support/ranks.h"

namespace tradewind::tests {

/// 1, 2 and 4 ranks train alike; several have `of_ranks` set as well.
inline void check_ranks(const EventShop& shop, const Settings& settings, const Settings& of_ranks = {},
                        const std::string& recipe = "shop.toml") {
  for (const char* left : {"ranks-1", "ranks-2", "ranks-4"}) std::filesystem::remove_all(shop.folder.path() / left);
  shop.good(train_into("ranks-1", settings, recipe));
  const auto one = shop.evaluated("ranks-1");
  for (const int ranks : {2, 4}) {
    const std::string name = "ranks-" + std::to_string(ranks);
    auto program = train_into(name, settings, recipe);
    program.insert(program.begin(), TRADEWIND_BINARY);
    for (const auto& setting : of_ranks) program.insert(program.end(), {"--set", setting});
    const auto command = under_mpirun(ranks, program);
    if (command.empty()) {
      std::cout << "SKIPPED " << boost::unit_test::framework::current_test_case().full_name()
                << ": there is no mpirun; install openmpi-bin\n";
      return;
    }
    const Outcome o = Command(command, shop.folder.path()).wait();
    BOOST_REQUIRE_MESSAGE(o.code == 0, o);
    const auto several = shop.evaluated(name);
    for (const char* key : {"loss", "ndcg@10", "hr@10", "mrr"}) {
      const double a = one.at(key).get<double>(), b = several.at(key).get<double>();
      BOOST_CHECK_MESSAGE(std::abs(a - b) <= 1e-3 * std::abs(a), key << " of " << ranks << " ranks: " << b << ", of one " << a);
    }
    const auto first = lines(text_of(shop.folder.path() / "ranks-1" / "metrics.jsonl")),
               other = lines(text_of(shop.folder.path() / name / "metrics.jsonl"));
    BOOST_REQUIRE_EQUAL(first.size(), other.size());
    for (std::size_t i = 0; i < 20; ++i) {
      const auto a = nlohmann::json::parse(first[i]), b = nlohmann::json::parse(other[i]);
      const double x = a.value("loss", 0.0), y = b.value("loss", 0.0);
      BOOST_CHECK_MESSAGE(x > 0 && std::abs(x - y) <= 1e-5 * x, "step " << i + 1 << ": " << x << " and " << y);
    }
  }
}

}  // namespace tradewind::tests
