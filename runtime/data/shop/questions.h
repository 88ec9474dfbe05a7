// What customers ask, what they want to know by it, and what the shop answers.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/data/shop/records.h"
#include "runtime/data/shop/world.h"

namespace tradewind::runtime::shop {

/// The intent at place `u` in (0, 1) of what is asked before a purchase, and of what is asked after one.
std::uint8_t asked_before(double u);
std::uint8_t asked_after(double u);
std::string_view intent_name(std::uint8_t intent);

struct QuestionText {
  std::string question, answer;
};
/// A function of the seed and the record.
QuestionText question_text(const World& world, const Question& question, bool chinese);

}  // namespace tradewind::runtime::shop
