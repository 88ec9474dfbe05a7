#include "runtime/data/shop/questions.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <vector>

#include "runtime/data/shop/draws.h"
#include "runtime/data/shop/goods.h"

namespace tradewind::runtime::shop {
namespace {

constexpr std::size_t kWays = 4;
struct Intent {
  std::string_view name;
  std::array<Words, kWays> questions;
  Words answer;
};

/// {thing} {colour} {material} {price} are the item's. Before a purchase the first kBefore, after it the others.
constexpr std::size_t kBefore = 6, kIntents = 11;
constexpr std::array<Intent, kIntents> kAllIntents{{
    {"stock",
     {{{"Is the {thing} in {colour} still available?", "{colour}的{thing}还有货吗？"},
       {"When will you have the {thing} again?", "{thing}什么时候补货？"},
       {"do you have this in stock", "这个有现货吗"},
       {"How many of the {thing} are left?", "{thing}还剩多少？"}}},
     {"Yes, the {thing} in {colour} is in stock and ships tomorrow.", "有货的，{colour}{thing}明天就能发货。"}},
    {"material",
     {{{"What is the {thing} made of?", "{thing}是什么材质的？"},
       {"Is that real {material}?", "是真的{material}吗？"},
       {"Does the material smell at first?", "材料会有味道吗？"},
       {"what material is it, I have allergies", "我过敏，请问是什么材料"}}},
     {"The {thing} is made of {material}.", "{thing}采用{material}制成。"}},
    {"size",
     {{{"How big is the {thing}?", "{thing}尺寸多大？"},
       {"Which size should I take?", "我应该选哪个尺码？"},
       {"Does it run small?", "偏小吗？"},
       {"could you send me the measurements of the {thing}", "能发一下{thing}的尺寸吗"}}},
     {"All measurements are on the page of the {thing}, under \"Details\".", "{thing}的尺寸都在商品页的“详情”里。"}},
    {"care",
     {{{"How do I clean the {thing}?", "{thing}怎么清洗？"},
       {"Can it go in the machine?", "可以机洗吗？"},
       {"Does {material} need special care?", "{material}需要特别保养吗？"},
       {"how to wash this", "这个怎么洗"}}},
     {"Wipe the {thing} with a damp cloth; {material} does not like to soak.", "{thing}用湿布擦拭即可，{material}不要浸泡。"}},
    {"price",
     {{{"Will the {thing} be cheaper soon?", "{thing}最近会降价吗？"},
       {"Is there a discount if I take two?", "买两件有优惠吗？"},
       {"Why does it cost {price} euros?", "为什么要{price}欧元？"},
       {"any coupon for the {thing}?", "{thing}有优惠券吗"}}},
     {"The {thing} costs {price} euros; with our newsletter you hear of discounts first.",
      "{thing}售价{price}欧元，订阅邮件可以最先知道优惠。"}},
    {"gift",
     {{{"Can you wrap the {thing} as a present?", "{thing}可以包装成礼物吗？"},
       {"Could you add a card for a friend?", "可以附一张贺卡吗？"},
       {"It is a present: can you leave out the invoice?", "送人的，可以不放发票吗？"},
       {"gift wrapping possible?", "有礼品包装吗"}}},
     {"Gladly: choose \"gift\" in the basket, and no price is enclosed.", "可以的，在购物车里选择“礼品”，不会附上价格。"}},
    {"delivery",
     {{{"Where is my order?", "我的订单到哪里了？"},
       {"When will the {thing} arrive?", "{thing}什么时候到？"},
       {"The parcel has not moved for three days.", "快递三天没动了。"},
       {"has the {thing} been sent yet", "{thing}发货了吗"}}},
     {"Your {thing} is on its way; the link in our mail shows where it is.",
      "您的{thing}已在途中，邮件里的链接可以查看物流。"}},
    {"return",
     {{{"How can I send the {thing} back?", "{thing}怎么退货？"},
       {"Do I have to pay for the return?", "退货要自己付运费吗？"},
       {"I would like my money back.", "我想退款。"},
       {"can I exchange the {thing} for another colour", "{thing}可以换别的颜色吗"}}},
     {"You can return the {thing} within thirty days; print the label from your account.",
      "三十天内可以退{thing}，请在账户里打印退货单。"}},
    {"damage",
     {{{"The {thing} arrived broken.", "收到的{thing}是坏的。"},
       {"There is a scratch on it. What now?", "上面有划痕，怎么办？"},
       {"A part of the {thing} is missing.", "{thing}少了一个配件。"},
       {"it came damaged, I want a new one", "到货破损，要求换新"}}},
     {"We are sorry. A new {thing} leaves today; you may keep the other one.",
      "非常抱歉，新的{thing}今天就寄出，旧的不用退回。"}},
    {"warranty",
     {{{"How long is the warranty on the {thing}?", "{thing}保修多久？"},
       {"Do you repair it after two years?", "两年后还能维修吗？"},
       {"Are there spare parts?", "有备件吗？"},
       {"is the {thing} still under warranty", "{thing}还在保修期吗"}}},
     {"We repair the {thing} for free for five years.", "{thing}五年内免费维修。"}},
    {"invoice",
     {{{"I need an invoice for my company.", "我需要公司发票。"},
       {"The invoice for the {thing} is missing.", "没有收到{thing}的发票。"},
       {"Can you change the address on the invoice?", "发票上的地址可以改吗？"},
       {"please send the bill for the {thing} again", "请重新发一下{thing}的账单"}}},
     {"The invoice is in your account under \"Orders\"; we have sent it once more.", "发票在账户的“订单”里，我们已重新发送。"}},
}};

std::string filled(std::string_view pattern, const std::array<std::pair<std::string_view, std::string>, 4>& values) {
  std::string out(pattern);
  for (const auto& [name, value] : values)
    for (std::size_t at = 0; (at = out.find(name, at)) != std::string::npos; at += value.size())
      out.replace(at, name.size(), value);
  return out;
}

}  // namespace

std::uint8_t asked_before(double u) { return static_cast<std::uint8_t>(u * static_cast<double>(kBefore)); }
std::uint8_t asked_after(double u) {
  return static_cast<std::uint8_t>(kBefore + static_cast<std::size_t>(u * (kIntents - kBefore)));
}
std::string_view intent_name(std::uint8_t intent) { return kAllIntents[intent].name; }

QuestionText question_text(const World& world, const Question& question, bool chinese) {
  const Item& item = world.items()[static_cast<std::size_t>(question.item)];
  const Looks looks = looks_of(world.seed(), question.item, item.category);
  const Words& name = category_words(item.category).name;
  const std::array<std::pair<std::string_view, std::string>, 4> values{
      {{"{thing}", std::string(chinese ? name.chinese : name.english)},
       {"{colour}", std::string(chinese ? looks.colour.chinese : looks.colour.english)},
       {"{material}", std::string(chinese ? looks.material.chinese : looks.material.english)},
       {"{price}", fmt::format("{:.2f}", item.price)}}};
  Draws draws(world.seed(), Purpose::kOfQuestions, static_cast<std::uint64_t>(question.customer),
              static_cast<std::uint64_t>(question.time));
  const Intent& intent = kAllIntents[question.intent];
  const Words& asked = intent.questions[static_cast<std::size_t>(draws.below(kWays))];
  return {.question = filled(chinese ? asked.chinese : asked.english, values),
          .answer = filled(chinese ? intent.answer.chinese : intent.answer.english, values)};
}

}  // namespace tradewind::runtime::shop
