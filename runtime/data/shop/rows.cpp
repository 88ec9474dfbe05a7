#include "runtime/data/shop/rows.h"

#include "runtime/data/shop/catalogue.h"
#include "runtime/data/shop/choices.h"
#include "runtime/data/shop/questions.h"
#include "runtime/data/shop/reviews.h"
#include "runtime/data/shop/searches.h"
#include "runtime/data/shop/table.h"
#include "runtime/data/shop/words.h"

namespace tradewind::runtime::shop {
namespace {

constexpr const char* kEventNames[] = {"view", "cart", "buy", "rate", "return"};

}  // namespace

const std::array<FileForm, kTimedFiles>& timed_files() {
  static constexpr std::array<FileForm, kTimedFiles> kAll{{
      {"events.csv", "user,item,event,time,session,price,rating\n"},
      {"impressions.csv", "impression,user,item,time,session,position,clicked\n"},
      {"promotions.csv", "user,time,discount,sent,bought,spent\n"},
      {"reviews.jsonl", ""},
      {"questions.jsonl", ""},
      {"searches.jsonl", ""},
      {"truth/impressions.csv", "impression,probability\n"},
      {"truth/promotions.csv", "user,time,bought_without,bought_with,probability_without,probability_with\n"},
      {"truth/reviews.csv", "review,contentment,quality,style,price,delivery\n"},
      {"truth/searches.csv", "search,category,style\n"},
  }};
  return kAll;
}

RowWriter::RowWriter(const World& world, std::int64_t customers, std::int64_t days) : world_(world) {
  for (std::int64_t customer = 0; customer < customers; ++customer) {
    const Traits traits = traits_of(world.seed(), customer, days);
    customer_ids_.push_back(customer_number(world.seed(), customer));
    tastes_.push_back(static_cast<std::uint8_t>(traits.taste));
    languages_.push_back(traits.chinese ? 1 : 0);
  }
  for (std::int64_t item = 0; item < std::ssize(world.items()); ++item) item_fields_.push_back(csv_field(world.item_id(item)));
}

std::string RowWriter::item_json(std::int32_t item) const { return json_text(world_.item_id(item)); }

void RowWriter::append(std::array<std::string, kTimedFiles>& rows, const Records& records, const Numbers& from) const {
  for (const Event& event : records.events) append_event(rows[kEvents], event);
  Numbers next = from;
  for (const Impression& record : records.impressions)
    append_impression(rows[kImpressions], rows[kImpressionTruth], record, next.impressions++);
  for (const Promotion& record : records.promotions) append_promotion(rows[kPromotions], rows[kPromotionTruth], record);
  for (const Review& record : records.reviews) append_review(rows[kReviews], rows[kReviewTruth], record, next.reviews++);
  for (const Question& record : records.questions) append_question(rows[kQuestions], record, next.questions++);
  for (const Search& record : records.searches) append_search(rows[kSearches], rows[kSearchTruth], record, next.searches++);
}

void RowWriter::append_event(std::string& row, const Event& event) const {
  row += customer(event.customer);
  row += ',';
  row += item_field(event.item);
  row += ',';
  row += kEventNames[static_cast<std::size_t>(event.kind)];
  row += ',';
  append_time(row, event.time);
  row += ',';
  if (event.session > 0) append_session(row, event.customer, event.session);
  row += ',';
  if (event.kind == EventKind::kBuy) shop::append(row, "{:.2f}", event.price);
  row += ',';
  if (event.rating > 0) row += static_cast<char>('0' + event.rating);
  row += '\n';
}

void RowWriter::append_impression(std::string& row, std::string& truth, const Impression& impression,
                                  std::int64_t number) const {
  shop::append(row, "{},{},{},", number, customer(impression.customer), item_field(impression.item));
  append_time(row, impression.time);
  row += ',';
  append_session(row, impression.customer, impression.session);
  shop::append(row, ",{},{}\n", impression.position + 1, impression.clicked ? 1 : 0);
  shop::append(truth, "{},{:.5f}\n", number, impression.probability);
}

void RowWriter::append_promotion(std::string& row, std::string& truth, const Promotion& promotion) const {
  const std::string& who = customer(promotion.customer);
  const bool bought = promotion.sent ? promotion.bought_with : promotion.bought_without;
  shop::append(row, "{},", who);
  append_time(row, promotion.time);
  shop::append(row, ",{:.1f},{},{},{:.2f}\n", promotion.discount, promotion.sent ? 1 : 0, bought ? 1 : 0, promotion.spent);
  shop::append(truth, "{},", who);
  append_time(truth, promotion.time);
  shop::append(truth, ",{},{},{:.5f},{:.5f}\n", promotion.bought_without ? 1 : 0, promotion.bought_with ? 1 : 0,
               promotion.without, promotion.with);
}

void RowWriter::append_review(std::string& row, std::string& truth, const Review& review, std::int64_t number) const {
  const bool matches = world_.items()[static_cast<std::size_t>(review.item)].style == taste(review.customer);
  const ReviewText text = review_text(world_, review, matches, chinese(review.customer));
  shop::append(row, R"({{"review":"R-{:08}","user":"{}","item":{},"time":")", number, customer(review.customer),
               item_json(review.item));
  append_time(row, review.time);
  shop::append(row, R"(","rating":{},"language":"{}","title":{},"text":{}}})", review.rating,
               chinese(review.customer) ? "zh" : "en", json_text(text.title), json_text(text.text));
  row += '\n';
  shop::append(truth, "R-{:08},{:.4f},{},{},{},{}\n", number, review.content, text.tone[kQualityAspect],
               text.tone[kStyleAspect], text.tone[kPriceAspect], text.tone[kDeliveryAspect]);
}

void RowWriter::append_question(std::string& row, const Question& question, std::int64_t number) const {
  const QuestionText text = question_text(world_, question, chinese(question.customer));
  shop::append(row, R"({{"question":"Q-{:08}","user":"{}","item":{},"time":")", number, customer(question.customer),
               item_json(question.item));
  append_time(row, question.time);
  shop::append(row, R"(","language":"{}","intent":"{}","text":{},"answer":{}}})", chinese(question.customer) ? "zh" : "en",
               intent_name(question.intent), json_text(text.question), json_text(text.answer));
  row += '\n';
}

void RowWriter::append_search(std::string& row, std::string& truth, const Search& search, std::int64_t number) const {
  const SearchText text = search_text(world_, search, taste(search.customer), chinese(search.customer));
  shop::append(row, R"({{"search":"F-{:08}","user":"{}","time":")", number, customer(search.customer));
  append_time(row, search.time);
  row += R"(","session":")";
  append_session(row, search.customer, search.session);
  shop::append(row, R"(","language":"{}","query":{},"results":[)", chinese(search.customer) ? "zh" : "en",
               json_text(text.query));
  for (std::size_t r = 0; r < text.results.size(); ++r) {
    if (r > 0) row += ',';
    row += item_json(text.results[r]);
  }
  shop::append(row, R"(],"clicked":{}}})", search.item < 0 ? "null" : item_json(search.item));
  row += '\n';
  shop::append(truth, "F-{:08},{},{}\n", number, search.category, taste(search.customer));
}

}  // namespace tradewind::runtime::shop
