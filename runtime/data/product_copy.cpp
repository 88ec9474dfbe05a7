// A grammar of slots. A department knows its products and what they are made of, so that a model has something to find out:
// kettles are not machine-washed, and linen costs more than cotton. Templates hold {slots}; a slot's text may hold slots
// itself.
#include "runtime/data/product_copy.h"

#include <fmt/format.h>

#include <cctype>
#include <map>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "kernels/base/error.h"
#include "runtime/data/shuffle.h"

namespace tradewind::runtime {
namespace {

using Words = std::vector<std::string_view>;

struct Material {
  std::string_view name;
  double price;  // factor
  std::string_view praise;
};

struct Product {
  std::string_view name;
  double price;  // euros, of the plainest
  std::string_view use;
};

struct Department {
  std::vector<Product> products;
  std::vector<Material> materials;
  Words qualities, features, sizes, care, audiences;
};

const std::vector<Department>& departments() {
  static const std::vector<Department> kAll{
      {{{"shirt", 35, "for the office and the evening after"},
        {"jumper", 49, "for the first cold mornings"},
        {"raincoat", 89, "for weather that cannot make up its mind"},
        {"summer dress", 59, "for long lunches in the garden"},
        {"cardigan", 55, "to throw over everything"},
        {"scarf", 24, "from October to April"},
        {"waistcoat", 64, "for weddings and other good excuses"},
        {"pair of trousers", 69, "for walking, sitting and everything between"},
        {"night shirt", 32, "for slow Sundays"},
        {"apron", 22, "for cooks who splash"}},
       {{"organic cotton", 1.0, "soft from the first day"},
        {"washed linen", 1.5, "cool in the heat and better with every wash"},
        {"merino wool", 1.9, "warm without weight"},
        {"recycled polyester", 0.9, "light, tough and quick to dry"},
        {"brushed flannel", 1.1, "as warm as it looks"},
        {"piqué cotton", 1.2, "crisp, airy and easy to iron"},
        {"silk crêpe", 2.6, "smooth, fluid and quietly shiny"}},
       {"relaxed", "slim", "loose", "classic", "cropped", "tailored", "everyday", "oversized"},
       {"two deep pockets", "buttons of real horn", "a collar that stays in shape", "flat seams that do not rub",
        "a loop to hang it by", "cuffs that roll up neatly", "a hidden pocket for keys", "a hem that hides stains",
        "elbows with a second layer", "a décolleté cut just right"},
       {"in sizes XS to XXL", "in sizes 34 to 46", "in three lengths", "in one size that fits most"},
       {"Machine wash at 30 degrees, dry flat.", "Wash at 40 degrees with like colours.", "Hand wash only; do not wring.",
        "Dry clean, or air it on a balcony overnight.", "Wash inside out and iron while damp."},
       {"her", "him", "everyone", "tall people", "teenagers"}},
      {{{"kettle", 45, "for the first cup of the day"},
        {"frying pan", 39, "for eggs that slide"},
        {"casserole", 79, "for stews that take their time"},
        {"salad bowl", 28, "for a table of six"},
        {"bread knife", 34, "for crusts that fight back"},
        {"café press", 32, "for four cups of strong coffee"},
        {"set of mugs", 26, "for tea, cocoa and soup"},
        {"cutting board", 29, "for cooks in a hurry"},
        {"pepper mill", 27, "for the last turn before serving"},
        {"baking tin", 19, "for cakes that come out whole"}},
       {{"cast iron", 1.4, "heavy, patient and made to be inherited"},
        {"stainless steel", 1.2, "easy to clean and hard to dent"},
        {"enamelled steel", 1.0, "bright, light and kind to every hob"},
        {"olive wood", 1.3, "with a grain that is never the same twice"},
        {"glazed stoneware", 1.1, "thick enough to keep things warm"},
        {"borosilicate glass", 0.9, "clear, thin and proof against heat"},
        {"hammered copper", 2.2, "quick to heat and lovely to look at"}},
       {"large", "small", "deep", "stackable", "hand-finished", "rustic", "professional", "compact"},
       {"a lid that fits tightly", "a handle that stays cool", "a spout that does not drip",
        "a base for every hob, induction too", "a scale on the inside", "feet of soft rubber", "a hook for the wall",
        "an edge that keeps its bite", "rounded corners that leave no crumbs behind"},
       {"for 1.5 litres", "for two to four people", "28 cm across", "20 cm across", "for up to 3 litres"},
       {"Safe in the dishwasher.", "Rinse with warm water, no soap, and dry at once.",
        "Oil it once a month and it will outlive you.", "Descale with vinegar when it sings.",
        "Wipe with a damp cloth; never soak."},
       {"home cooks", "beginners", "small kitchens", "campers", "big families"}},
      {{{"desk lamp", 59, "for late chapters"},
        {"armchair", 249, "for reading until the tea is cold"},
        {"bookshelf", 139, "for two hundred paperbacks"},
        {"side table", 89, "for a lamp, a book and a glass"},
        {"rug", 119, "for bare feet"},
        {"mirror", 75, "for narrow halls"},
        {"set of cushions", 39, "for sofas that need company"},
        {"blanket", 65, "for the far end of the sofa"},
        {"wall clock", 49, "for kitchens where time flies"},
        {"coat stand", 69, "for guests and their umbrellas"}},
       {{"solid oak", 1.6, "oiled by hand and steady for decades"},
        {"birch plywood", 1.0, "pale, light and surprisingly strong"},
        {"powder-coated steel", 1.1, "slender and very hard to scratch"},
        {"woven rattan", 1.2, "airy, warm and a little nostalgic"},
        {"felted wool", 1.5, "thick, quiet and pleasant to touch"},
        {"recycled glass", 1.0, "with tiny bubbles that catch the light"},
        {"smoked bamboo", 0.9, "fast to grow and slow to wear"}},
       {"low", "tall", "round", "folding", "modular", "mid-century", "Scandinavian", "slender"},
       {"screws that you never see", "a drawer that closes softly", "a cable as long as the room", "felt under every foot",
        "a switch you find in the dark", "edges that are kind to shins", "spare parts for ten years",
        "a cover that comes off for washing"},
       {"45 cm wide", "120 by 180 cm", "in two heights", "80 cm high", "in small and large"},
       {"Dust with a dry cloth.", "Wipe with a damp cloth and dry along the grain.", "Vacuum on the lowest setting.",
        "Oil once a year, in spring.", "Keep out of direct sun."},
       {"small flats", "students", "readers", "first homes", "people who move often"}},
      {{{"backpack", 85, "for a laptop, lunch and a change of plan"},
        {"tent", 219, "for two people and one wet dog"},
        {"sleeping bag", 129, "for nights down to five degrees"},
        {"water bottle", 22, "for long ridges"},
        {"head torch", 35, "for the way back"},
        {"pair of hiking boots", 149, "for stony paths"},
        {"bicycle bag", 59, "for commutes in any season"},
        {"picnic set", 49, "for lakes at the end of a bus line"},
        {"yoga mat", 39, "for living rooms and lawns"},
        {"hammock", 55, "for two trees of your choice"}},
       {{"waxed canvas", 1.3, "stiff at first and loyal ever after"},
        {"ripstop nylon", 1.0, "thin as paper and twice as stubborn"},
        {"natural rubber", 1.1, "with a grip that does not let go"},
        {"aluminium", 1.2, "light, strong and endlessly recyclable"},
        {"full-grain leather", 1.8, "supple, and softer with every mile"},
        {"recycled sailcloth", 1.4, "with stories of its own"}},
       {"ultralight", "waterproof", "rugged", "folding", "roomy", "packable", "all-season", "compact"},
       {"taped seams", "a rain cover in the bottom pocket", "reflective stitching", "zips that run with gloves on",
        "straps with soft edges", "a whistle in the buckle", "a repair kit",
        "a pocket for the map, or the phone that replaced it"},
       {"with 24 litres", "at only 480 g", "for 0.75 litres", "in regular and long", "at 1.9 kg"},
       {"Brush off mud when dry.", "Wash by hand in lukewarm water, no softener.", "Air before you store it.",
        "Wax again before the winter.", "Rinse after salt water."},
       {"day trips", "commuters", "beginners", "families", "people who read maps for fun"}},
      {{{"wooden train", 29, "for kitchen floors of any size"},
        {"picture book", 14, "for one more story, and then one more"},
        {"building set", 42, "for towers taller than their builder"},
        {"soft rabbit", 19, "for secrets and long journeys"},
        {"kite", 24, "for windy afternoons"},
        {"puzzle", 17, "for rainy ones"},
        {"doll's house", 95, "for tenants up to 12 cm"},
        {"paint box", 21, "for paper and, alas, walls"}},
       {{"beech wood", 1.2, "smooth, round and free of splinters"},
        {"organic cotton plush", 1.1, "washable and worth it"},
        {"recycled cardboard", 0.8, "sturdier than you would think"},
        {"maple wood", 1.4, "pale, dense and pleasant to hold"},
        {"bioplastic from sugar cane", 1.0, "cheerful and hard to break"}},
       {"little", "big", "classic", "magnetic", "hand-painted", "noisy", "quiet", "first"},
       {"colours that are safe to chew on", "a box for tidying up", "a spring instead of batteries",
        "parts that fit small hands", "a booklet with twelve ideas", "a missing-piece service", "corners without corners"},
       {"with 24 pieces", "with 60 pieces", "30 cm long", "for one to four players", "with 18 colours"},
       {"Wipe with a damp cloth.", "Machine wash in a pillowcase.", "Keep dry.", "Surface wash; let it dry in the sun."},
       {"ages 1 and up", "ages 3 and up", "ages 5 and up", "children and patient parents", "grandparents' houses"}},
  };
  return kAll;
}

const std::map<std::string_view, Words>& shared_slots() {
  static const std::map<std::string_view, Words> kSlots{
      {"brand",
       {"Halden & Sohn", "Northwind", "Maison Clair", "Brackwater", "Fjordlys", "Tinder & Oak", "Casa Alba", "Wren", "Océane",
        "Kestrel Works", "Lumen Nord", "Petit Atelier", "Old Harbour", "Marlow", "Sable & Finch", "Ostara"}},
      {"colour",
       {"sea green", "midnight blue", "charcoal", "mustard", "brick red", "oat", "forest green", "dusty rose", "off-white",
        "slate", "rust", "sky blue", "plum", "sand", "black", "rosé"}},
      {"place",
       {"Porto", "the Black Forest", "Brittany", "Tuscany", "Jutland", "Bohemia", "Flanders", "Yorkshire", "Galicia",
        "Carinthia"}},
      {"opening",
       {"Meet the {product} {use}.", "This {quality} {product} is made {use}.",
        "{A quality} {product} of {material}, {praise}.", "{Some} {product} can shout; this one gets on with it.",
        "Made in {place} by people who use it themselves.", "We looked for {a quality} {product} for years, and then made one.",
        "Here is a {product} {use}.", "Our best-selling {product} is back, now in {colour}.",
        "Simple, {quality} and made to last."}},
      {"Some", {"Any", "Another", "The usual"}},
      {"making",
       {"{Material}: {praise}.", "It is made of {material}, {praise}.", "We use {material}, {praise}.",
        "{Material} makes it what it is, {praise}.", "In {colour} {material}, {praise}.",
        "Cut from {material} in {place}, {praise}."}},
      {"features",
       {"It comes with {feature} and {feature2}.", "Look out for {feature}.", "You get {feature}, {feature2} and {feature3}.",
        "Small things matter, so there is {feature}.", "With {feature}, and with {feature2}.",
        "It has {feature}, which you will not want to miss."}},
      {"offer",
       {"Available {size}.", "Comes {size}, in {colour} or {colour2}.", "Ideal for {audience}.",
        "A good present for {audience}.", "Made for {audience}, {size}.", "Also in {colour2}.", "Now {size}.",
        "Not for {audience} alone."}},
      {"closing",
       {"Thirty days to change your mind.", "Ships tomorrow.", "We repair it for free for five years.", "Only a few left.",
        "Our customers give it {stars} out of 5.", "Once you have one, you will want two.", "Packed without plastic.",
        "Numbered by hand.", "It just works.", "Gift wrapping on request."}},
      {"stars", {"4.3", "4.5", "4.6", "4.7", "4.8", "4.9"}},
      {"saving", {"Was", "Before", "Elsewhere"}},
      {"delivery",
       {"Free delivery.", "Delivery 3 to 5 days.", "In stock.", "Pick up in store.", "Delivery €4.90.",
        "Back in stock on Monday."}},
  };
  return kSlots;
}

std::string capitalised(std::string text) {
  if (!text.empty()) text[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(text[0])));
  return text;
}

/// Writes one document.
class Writer {
 public:
  Writer(std::uint64_t seed, std::uint64_t document) : seed_(seed), document_(document) {}

  std::string write() {
    department_ = &departments()[below(departments().size())];
    const Product& product = pick(std::span(department_->products));
    const Material& material = pick(std::span(department_->materials));
    values_ = {{"product", std::string(product.name)},
               {"use", std::string(product.use)},
               {"material", std::string(material.name)},
               {"Material", capitalised(std::string(material.name))},
               {"praise", std::string(material.praise)},
               {"quality", std::string(pick(std::span(department_->qualities)))},
               {"size", std::string(pick(std::span(department_->sizes)))},
               {"audience", std::string(pick(std::span(department_->audiences)))}};
    const std::string article = std::string("aeiou").find(values_["quality"][0]) == std::string::npos ? "a " : "an ";
    values_["a quality"] = article + values_["quality"];
    values_["A quality"] = capitalised(values_["a quality"]);
    choose("brand", shared_slots().at("brand"), 1);
    choose("place", shared_slots().at("place"), 1);
    choose("colour", shared_slots().at("colour"), 2);
    choose("feature", department_->features, 3);
    std::string text = fill("{brand} {quality} {product}, {material}, {colour}\n{opening}");
    if (below(6) != 0) text += " " + fill("{making}");
    if (below(8) != 0) text += " " + fill("{features}");
    if (below(3) != 0) text += " " + fill("{offer}");
    if (below(2) != 0) text += " " + fill("{closing}");
    text += fmt::format("\nCare: {}\n", pick(std::span(department_->care)));
    return text + price(product.price * material.price) + fill(" {delivery}") + "\n\n";
  }

 private:
  std::uint64_t below(std::size_t n) {
    const std::uint64_t counter = document_ << 16 | drawn_++;
    return static_cast<std::uint64_t>(random_below(seed_, 0x434F5059, counter, static_cast<std::int64_t>(n)));  // "COPY"
  }

  template <class T>
  const T& pick(std::span<const T> from) {
    return from[below(from.size())];
  }

  /// Sets {name}, {name2}, .. to different words.
  void choose(const std::string& name, Words words, int count) {
    for (int i = 1; i <= count; ++i) {
      const auto at = static_cast<std::ptrdiff_t>(below(words.size()));
      values_[i == 1 ? name : name + std::to_string(i)] = words[static_cast<std::size_t>(at)];
      words.erase(words.begin() + at);
    }
  }

  std::string fill(std::string_view pattern) {
    std::string out;
    for (std::size_t at = 0; at < pattern.size();) {
      const std::size_t open = pattern.find('{', at);
      out += pattern.substr(at, open - at);
      if (open == std::string_view::npos) break;
      const std::size_t close = pattern.find('}', open);
      const std::string_view name = pattern.substr(open + 1, close - open - 1);
      const auto value = values_.find(std::string(name));
      out += value != values_.end() ? value->second : fill(pick(std::span<const std::string_view>(shared_slots().at(name))));
      at = close + 1;
    }
    return out;
  }

  /// Whole euros less ten or five cents, and now and then an older price.
  std::string price(double euros) {
    const auto whole = static_cast<int>(euros * (0.8 + 0.05 * static_cast<double>(below(9))));
    const char* cents = below(2) == 0 ? "90" : "95";
    std::string text = fmt::format("Price: €{}.{}.", whole, cents);
    if (below(5) == 0) text += fill(" {saving}") + fmt::format(" €{}.{}.", whole + 5 + static_cast<int>(below(4)) * 5, cents);
    return text;
  }

  std::uint64_t seed_, document_, drawn_ = 0;
  const Department* department_ = nullptr;
  std::map<std::string, std::string> values_;
};

}  // namespace

std::string product_copy(std::uint64_t seed, std::int64_t documents) {
  require(documents >= 0, "product_copy", "a negative number of documents");
  std::string text;
  for (std::int64_t i = 0; i < documents; ++i) text += Writer(seed, static_cast<std::uint64_t>(i)).write();
  return text;
}

}  // namespace tradewind::runtime
