// Pieces of HTML.
#pragma once

#include <string>
#include <string_view>

namespace tradewind::launcher {

/// `text` as it may stand in an element or a quoted attribute: markup escaped, control characters and what is no UTF-8
/// replaced.
std::string escape_html(std::string_view text);

/// The style sheet of a report: light and dark, wide and narrow, screen and paper. It names nothing outside the page.
std::string_view report_style();

}  // namespace tradewind::launcher
