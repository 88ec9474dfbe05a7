#include "runtime/data/shop/reviews.h"

#include <cmath>

#include "runtime/data/shop/catalogue.h"
#include "runtime/data/shop/draws.h"
#include "runtime/data/shop/table.h"
#include "runtime/data/shop/words.h"

namespace tradewind::runtime::shop {
namespace {

using Three = std::array<Words, 3>;

/// Of ratings 1 to 5.
constexpr std::array<Three, 5> kTitles{{
    {{{"Never again", "再也不买了"}, {"A waste of money", "浪费钱"}, {"Very disappointed", "非常失望"}}},
    {{{"Not what I hoped for", "不如预期"}, {"Rather let down", "有点失望"}, {"Below par", "质量一般偏差"}}},
    {{{"It is all right", "还可以"}, {"Neither good nor bad", "一般般"}, {"Does the job", "能用"}}},
    {{{"Good buy", "值得买"}, {"Happy with it", "挺满意"}, {"Nearly perfect", "很不错"}}},
    {{{"Love it", "非常喜欢"}, {"Simply great", "太棒了"}, {"Could not be better", "完美，强烈推荐"}}},
}};
constexpr std::array<Three, 5> kClosings{{
    {{{"I sent it straight back.", "已经申请退货了。"},
      {"Stay away from it.", "千万别买。"},
      {"One star is too many.", "一颗星都嫌多。"}}},
    {{{"I would not buy it again.", "不会再买。"},
      {"There must be better ones.", "应该有更好的选择。"},
      {"I expected more.", "本来期待更高。"}}},
    {{{"I will keep it, for now.", "先留着用吧。"},
      {"No more, no less.", "中规中矩。"},
      {"You get what you see.", "和图片差不多。"}}},
    {{{"I would buy it again.", "会回购。"}, {"Recommended.", "推荐购买。"}, {"A good choice all in all.", "总体来说不错。"}}},
    {{{"I have already ordered a second one.", "已经又下单一个了。"},
      {"My best purchase this year.", "今年买得最值的东西。"},
      {"I recommend it to everyone.", "推荐给所有朋友。"}}},
}};

struct AspectWords {
  Three bad, good;
};
constexpr std::array<AspectWords, kAspects> kAspectWords{{
    {{{{"It is badly made and fell apart within days", "做工很差，没几天就坏了"},
       {"The finish is poor", "做工粗糙"},
       {"It feels flimsy", "感觉很单薄，不结实"}}},
     {{{"It is very well made", "做工很好"},
       {"The quality is excellent", "质量非常好"},
       {"It is solid and made to last", "结实耐用"}}}},
    {{{{"It looks nothing like the rest of my things", "和家里风格完全不搭"},
       {"The look is not to my taste", "款式不是我喜欢的"},
       {"I do not like the style after all", "看到实物后不太喜欢这个风格"}}},
     {{{"It is exactly my style", "正是我喜欢的风格"},
       {"It looks lovely", "样子很好看"},
       {"The design is just right", "设计恰到好处"}}}},
    {{{{"It is far too expensive for what it is", "价格太贵，不值"},
       {"I paid too much", "买贵了"},
       {"Others ask less for the same", "别家便宜得多"}}},
     {{{"It is a bargain", "很划算"}, {"The price is fair", "价格公道"}, {"Great value for money", "性价比很高"}}}},
    {{{{"Delivery took three weeks", "等了三周才到"},
       {"The parcel arrived damaged", "包裹到的时候破损了"},
       {"Nobody told me when it would come", "物流信息一直不更新"}}},
     {{{"It arrived the next day", "第二天就到了"},
       {"Delivery was quick", "物流很快"},
       {"It was carefully packed", "包装很仔细"}}}},
}};

std::string_view say(const Three& from, Draws& draws, bool chinese) {
  const Words& words = from[static_cast<std::size_t>(draws.below(3))];
  return chinese ? words.chinese : words.english;
}

int tone_of(double value, double threshold) { return value > threshold ? 1 : value < -threshold ? -1 : 0; }

std::array<int, kAspects> tones(const Item& item, const Review& review, bool matches_taste, Draws& draws) {
  std::array<int, kAspects> out{};
  out[kQualityAspect] = tone_of(0.7 * item.quality + 0.3 * review.content + 0.3 * draws.normal(), 0.5);
  out[kStyleAspect] = draws.chance(0.45) ? (matches_taste ? 1 : -1) : 0;
  out[kPriceAspect] = tone_of(-4 * std::log(item.price / typical_price(item.category)) + 0.6 * draws.normal(), 0.9);
  out[kDeliveryAspect] = draws.chance(0.3) ? (draws.chance(0.75) ? 1 : -1) : 0;
  return out;
}

}  // namespace

ReviewText review_text(const World& world, const Review& review, bool matches_taste, bool chinese) {
  const Item& item = world.items()[static_cast<std::size_t>(review.item)];
  Draws draws(world.seed(), Purpose::kOfReviews, static_cast<std::uint64_t>(review.customer),
              static_cast<std::uint64_t>(review.item) << 8);
  const auto rating = static_cast<std::size_t>(review.rating - 1);
  ReviewText out{.title = {}, .text = {}, .tone = tones(item, review, matches_taste, draws)};
  out.title = say(kTitles[rating], draws, chinese);
  int before = 0;
  for (std::size_t aspect = 0; aspect < kAspects; ++aspect) {
    const int tone = out.tone[aspect];
    if (tone == 0) continue;
    std::string sentence(say(tone > 0 ? kAspectWords[aspect].good : kAspectWords[aspect].bad, draws, chinese));
    const bool turns = before != 0 && tone != before;
    if (turns && !chinese && !sentence.starts_with("I ")) sentence[0] = static_cast<char>(sentence[0] | 0x20);
    if (turns) out.text += chinese ? "不过" : "But ";
    out.text += sentence;
    out.text += chinese ? "。" : ". ";
    before = tone;
  }
  out.text += say(kClosings[rating], draws, chinese);
  return out;
}

}  // namespace tradewind::runtime::shop
