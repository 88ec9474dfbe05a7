#include "runtime/data/shop/goods.h"

#include <fmt/format.h>

#include <array>

#include "runtime/data/shop/draws.h"
#include "runtime/data/shop/table.h"

namespace tradewind::runtime::shop {
namespace {

constexpr std::array<std::string_view, 16> kBrands{
    "Halden & Sohn", "Northwind",  "Maison Clair",  "Brackwater",  "Fjordlys", "Tinder & Oak",  "Casa Alba", "Wren", "Océane",
    "Kestrel Works", "Lumen Nord", "Petit Atelier", "Old Harbour", "Marlow",   "Sable & Finch", "Ostara"};
constexpr std::array<std::string_view, 20> kModels{"Fjord", "Alma", "No. 7",   "Bruno", "Sola",  "Hygge", "Piet",
                                                   "Luna",  "Otto", "Mistral", "Karo",  "Vera",  "Nils",  "Tara",
                                                   "Ruhr",  "Bora", "Delft",   "Aino",  "Porto", "Yuna"};
constexpr std::array<Words, 12> kColours{{{"sea green", "海绿色"},
                                          {"midnight blue", "午夜蓝"},
                                          {"charcoal", "炭灰色"},
                                          {"mustard", "芥末黄"},
                                          {"brick red", "砖红色"},
                                          {"oat", "燕麦色"},
                                          {"forest green", "森林绿"},
                                          {"dusty rose", "藕粉色"},
                                          {"off-white", "米白色"},
                                          {"slate", "石板灰"},
                                          {"rust", "铁锈红"},
                                          {"black", "黑色"}}};

/// Five of each for a department.
using Five = std::array<Words, 5>;
constexpr std::array<Five, kDepartments> kMaterials{{
    {{{"organic cotton", "有机棉"},
      {"washed linen", "水洗亚麻"},
      {"merino wool", "美利奴羊毛"},
      {"recycled polyester", "再生涤纶"},
      {"brushed flannel", "拉绒法兰绒"}}},
    {{{"cast iron", "铸铁"},
      {"stainless steel", "不锈钢"},
      {"olive wood", "橄榄木"},
      {"glazed stoneware", "釉面炻器"},
      {"borosilicate glass", "高硼硅玻璃"}}},
    {{{"solid oak", "实木橡木"},
      {"birch plywood", "桦木夹板"},
      {"powder-coated steel", "喷粉钢"},
      {"woven rattan", "编织藤"},
      {"felted wool", "羊毛毡"}}},
    {{{"waxed canvas", "打蜡帆布"},
      {"ripstop nylon", "防撕裂尼龙"},
      {"natural rubber", "天然橡胶"},
      {"aluminium", "铝合金"},
      {"full-grain leather", "头层牛皮"}}},
    {{{"beech wood", "榉木"},
      {"organic cotton plush", "有机棉绒"},
      {"recycled cardboard", "再生纸板"},
      {"maple wood", "枫木"},
      {"bioplastic from sugar cane", "甘蔗生物塑料"}}},
}};
constexpr std::array<Five, kDepartments> kFeatures{{
    {{{"two deep pockets", "两个深口袋"},
      {"buttons of real horn", "天然牛角扣"},
      {"flat seams that do not rub", "不磨皮肤的平缝"},
      {"a hidden pocket for keys", "隐藏式钥匙袋"},
      {"a loop to hang it by", "方便悬挂的挂环"}}},
    {{{"a lid that fits tightly", "密合的盖子"},
      {"a handle that stays cool", "不烫手的手柄"},
      {"a base for every hob, induction too", "适用各种炉灶包括电磁炉"},
      {"feet of soft rubber", "防滑软胶脚垫"},
      {"rounded corners that leave no crumbs behind", "不藏碎屑的圆角"}}},
    {{{"screws that you never see", "看不见的螺丝"},
      {"felt under every foot", "脚下都有毛毡垫"},
      {"edges that are kind to shins", "不碰伤腿的圆边"},
      {"spare parts for ten years", "十年配件供应"},
      {"a cover that comes off for washing", "可拆洗的外罩"}}},
    {{{"taped seams", "压胶接缝"},
      {"reflective stitching", "反光缝线"},
      {"zips that run with gloves on", "戴手套也能拉的拉链"},
      {"a repair kit", "随附修补套件"},
      {"straps with soft edges", "柔软包边的背带"}}},
    {{{"colours that are safe to chew on", "可放心啃咬的颜色"},
      {"a box for tidying up", "收纳盒"},
      {"parts that fit small hands", "适合小手的零件"},
      {"a booklet with twelve ideas", "十二种玩法手册"},
      {"a missing-piece service", "缺件补寄服务"}}},
}};
constexpr Five kClosings{{{"Thirty days to change your mind.", "三十天内可退换。"},
                          {"We repair it for free for five years.", "五年免费维修。"},
                          {"Packed without plastic.", "无塑料包装。"},
                          {"Ships tomorrow.", "次日发货。"},
                          {"Gift wrapping on request.", "可提供礼品包装。"}}};

constexpr std::array<std::string_view, kCountries> kCountryNames{"GB", "IE", "US", "AU", "CN", "SG"};
constexpr std::array<std::string_view, kChannels> kChannelNames{"direct", "search", "social", "affiliate"};
constexpr std::array<std::string_view, kAgeBands> kAgeNames{"18-24", "25-34", "35-44", "45-59", "60+"};

template <class List>
const auto& pick(const List& from, Draws& draws) {
  return from[static_cast<std::size_t>(draws.below(std::ssize(from)))];
}

std::string capitalised(std::string_view text) {
  std::string out(text);
  if (!out.empty() && out[0] >= 'a' && out[0] <= 'z') out[0] = static_cast<char>(out[0] - 'a' + 'A');
  return out;
}

/// "pair of trousers" -> "Trousers": what a title says.
std::string_view bare(std::string_view name) {
  for (const std::string_view start : {"pair of ", "set of "})
    if (name.starts_with(start)) name.remove_prefix(start.size());
  return name;
}

}  // namespace

Looks looks_of(std::uint64_t seed, std::int64_t item, int category) {
  Draws draws(seed, Purpose::kOfText, static_cast<std::uint64_t>(item));
  const auto department = static_cast<std::size_t>(category / (kCategories / kDepartments));
  Looks out{};
  out.brand = pick(kBrands, draws);
  out.model = pick(kModels, draws);
  out.colour = pick(kColours, draws);
  out.material = pick(kMaterials[department], draws);
  const auto feature = static_cast<std::size_t>(draws.below(5));
  out.feature = kFeatures[department][feature];
  out.other_feature = kFeatures[department][(feature + 1 + static_cast<std::size_t>(draws.below(4))) % 5];
  out.closing = pick(kClosings, draws);
  return out;
}

std::string items_header() {
  return "item,title,title_zh,description,description_zh,department,category,category_zh,brand,style,material,colour,price,"
         "currency\n";
}

void append_item(std::string& row, const World& world, std::int64_t index) {
  const Item& item = world.items()[static_cast<std::size_t>(index)];
  const Looks looks = looks_of(world.seed(), index, item.category);
  const CategoryWords& category = category_words(item.category);
  const Words &style = style_words(item.style), &department = department_words(item.category / (kCategories / kDepartments));
  const std::string title = fmt::format("{} \"{}\" {} {}, {}", looks.brand, looks.model, style.english,
                                        bare(category.name.english), looks.colour.english);
  const std::string title_zh =
      fmt::format("{}「{}」{}{}，{}", looks.brand, looks.model, style.chinese, category.name.chinese, looks.colour.chinese);
  const std::string text =
      fmt::format("{} {} in {}, {}. {}, with {} and {}. {}", capitalised(style.english), bare(category.name.english),
                  looks.colour.english, category.use.english, capitalised(looks.material.english), looks.feature.english,
                  looks.other_feature.english, looks.closing.english);
  const std::string text_zh = fmt::format("{}风格{}，{}，{}。采用{}，{}，{}。{}", style.chinese, category.name.chinese,
                                          looks.colour.chinese, category.use.chinese, looks.material.chinese,
                                          looks.feature.chinese, looks.other_feature.chinese, looks.closing.chinese);
  append(row, "{},{},{},{},{},{},{},{},{},{},{},{},{:.2f},EUR\n", csv_field(world.item_id(index)), csv_field(title),
         csv_field(title_zh), csv_field(text), csv_field(text_zh), department.english, category.name.english,
         category.name.chinese, csv_field(looks.brand), style.english, looks.material.english, looks.colour.english,
         item.price);
}

std::string users_header() { return "user,joined_on,country,language,age_band,channel,newsletter\n"; }

void append_user(std::string& row, const std::string& id, const Traits& traits) {
  append(row, "{},{},{},{},{},{},{}\n", id, date_text(traits.joined), kCountryNames[static_cast<std::size_t>(traits.country)],
         traits.chinese ? "zh" : "en", kAgeNames[static_cast<std::size_t>(traits.age_band)],
         kChannelNames[static_cast<std::size_t>(traits.channel)], traits.newsletter ? "yes" : "no");
}

}  // namespace tradewind::runtime::shop
