#include "runtime/data/shop/words.h"

#include <array>

#include "runtime/data/shop/world.h"

namespace tradewind::runtime::shop {
namespace {

constexpr std::array<Words, kDepartments> kDepartmentNames{
    {{"Clothing", "服饰"}, {"Kitchen", "厨房"}, {"Home", "家居"}, {"Outdoor", "户外"}, {"Toys", "玩具"}}};

constexpr std::array<Words, kStyles> kStyleNames{
    {{"classic", "经典"}, {"Scandinavian", "北欧"}, {"rustic", "田园"}, {"modern", "现代"}, {"playful", "趣味"}}};

constexpr std::array<CategoryWords, kCategories> kCategoryWords{{
    {{"shirt", "衬衫"}, 35, {"for the office and the evening after", "适合上班，也适合下班后的聚会"}},
    {{"jumper", "毛衣"}, 49, {"for the first cold mornings", "陪你度过初冬的清晨"}},
    {{"raincoat", "雨衣"}, 89, {"for weather that cannot make up its mind", "应对多变的天气"}},
    {{"summer dress", "连衣裙"}, 59, {"for long lunches in the garden", "适合花园里的悠长午餐"}},
    {{"cardigan", "开衫"}, 55, {"to throw over everything", "随手一披就很好看"}},
    {{"scarf", "围巾"}, 24, {"from October to April", "从十月戴到四月"}},
    {{"waistcoat", "马甲"}, 64, {"for weddings and other good excuses", "婚礼和各种场合都合适"}},
    {{"pair of trousers", "长裤"}, 69, {"for walking, sitting and everything between", "走路久坐都舒服"}},
    {{"night shirt", "睡裙"}, 32, {"for slow Sundays", "慵懒周日的好伙伴"}},
    {{"apron", "围裙"}, 22, {"for cooks who splash", "做饭再也不怕溅油"}},
    {{"kettle", "水壶"}, 45, {"for the first cup of the day", "烧开每天的第一杯水"}},
    {{"frying pan", "煎锅"}, 39, {"for eggs that slide", "煎蛋不粘锅"}},
    {{"casserole", "炖锅"}, 79, {"for stews that take their time", "慢炖出好味道"}},
    {{"salad bowl", "沙拉碗"}, 28, {"for a table of six", "六人份刚刚好"}},
    {{"bread knife", "面包刀"}, 34, {"for crusts that fight back", "硬皮面包也能轻松切开"}},
    {{"café press", "法压壶"}, 32, {"for four cups of strong coffee", "一次冲四杯浓咖啡"}},
    {{"set of mugs", "马克杯套装"}, 26, {"for tea, cocoa and soup", "喝茶、可可和热汤都行"}},
    {{"cutting board", "砧板"}, 29, {"for cooks in a hurry", "切菜又快又稳"}},
    {{"pepper mill", "胡椒研磨器"}, 27, {"for the last turn before serving", "上桌前轻轻一拧"}},
    {{"baking tin", "烤模"}, 19, {"for cakes that come out whole", "蛋糕脱模完整漂亮"}},
    {{"desk lamp", "台灯"}, 59, {"for late chapters", "深夜读书不伤眼"}},
    {{"armchair", "扶手椅"}, 249, {"for reading until the tea is cold", "坐下就不想起来"}},
    {{"bookshelf", "书架"}, 139, {"for two hundred paperbacks", "放得下两百本书"}},
    {{"side table", "边几"}, 89, {"for a lamp, a book and a glass", "放灯、放书、放水杯"}},
    {{"rug", "地毯"}, 119, {"for bare feet", "光脚踩上去很舒服"}},
    {{"mirror", "镜子"}, 75, {"for narrow halls", "小玄关也能用"}},
    {{"set of cushions", "靠垫套装"}, 39, {"for sofas that need company", "让沙发更温馨"}},
    {{"blanket", "毛毯"}, 65, {"for the far end of the sofa", "沙发上的温暖角落"}},
    {{"wall clock", "挂钟"}, 49, {"for kitchens where time flies", "静音走时，准确可靠"}},
    {{"coat stand", "衣帽架"}, 69, {"for guests and their umbrellas", "客人的外套和雨伞都有地方放"}},
    {{"backpack", "背包"}, 85, {"for a laptop, lunch and a change of plan", "装得下电脑和午餐"}},
    {{"tent", "帐篷"}, 219, {"for two people and one wet dog", "两人一狗住得下"}},
    {{"sleeping bag", "睡袋"}, 129, {"for nights down to five degrees", "零上五度也暖和"}},
    {{"water bottle", "水杯"}, 22, {"for long ridges", "徒步随身携带"}},
    {{"head torch", "头灯"}, 35, {"for the way back", "夜路不怕黑"}},
    {{"pair of hiking boots", "登山鞋"}, 149, {"for stony paths", "碎石路也走得稳"}},
    {{"bicycle bag", "自行车包"}, 59, {"for commutes in any season", "四季通勤都好用"}},
    {{"picnic set", "野餐套装"}, 49, {"for lakes at the end of a bus line", "湖边野餐说走就走"}},
    {{"yoga mat", "瑜伽垫"}, 39, {"for living rooms and lawns", "客厅草地都能练"}},
    {{"hammock", "吊床"}, 55, {"for two trees of your choice", "两棵树之间的好时光"}},
    {{"wooden train", "木头火车"}, 29, {"for kitchen floors of any size", "地板就是铁轨"}},
    {{"picture book", "绘本"}, 14, {"for one more story, and then one more", "再讲一个故事"}},
    {{"building set", "积木"}, 42, {"for towers taller than their builder", "搭出比自己还高的塔"}},
    {{"soft rabbit", "毛绒兔"}, 19, {"for secrets and long journeys", "睡觉出门都带着它"}},
    {{"kite", "风筝"}, 24, {"for windy afternoons", "有风的下午最好玩"}},
    {{"puzzle", "拼图"}, 17, {"for rainy ones", "下雨天也不无聊"}},
    {{"doll's house", "娃娃屋"}, 95, {"for tenants up to 12 cm", "住得下十二厘米的娃娃"}},
    {{"paint box", "颜料盒"}, 21, {"for paper and, alas, walls", "画纸画墙都很开心"}},
    {{"balance bike", "平衡车"}, 79, {"for the first kilometre", "学会骑车的第一步"}},
    {{"music box", "音乐盒"}, 33, {"for the last tune of the day", "睡前的最后一支曲子"}},
}};

}  // namespace

const CategoryWords& category_words(int category) { return kCategoryWords[static_cast<std::size_t>(category)]; }
const Words& department_words(int department) { return kDepartmentNames[static_cast<std::size_t>(department)]; }
const Words& style_words(int style) { return kStyleNames[static_cast<std::size_t>(style)]; }

}  // namespace tradewind::runtime::shop
