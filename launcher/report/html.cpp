#include "launcher/report/html.h"

#include "runtime/text/utf8.h"

namespace tradewind::launcher {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

}  // namespace

std::string escape_html(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char *at = text.data(), *end = at + text.size(); at < end;) {
    const auto character = runtime::decode_utf8(at, end);
    const char32_t c = character.point;
    const bool control = (c < 0x20 && c != '\n' && c != '\t') || (c >= 0x7F && c < 0xA0);
    if (character.status != runtime::Utf8Status::kOk || control)
      out += kReplacement;
    else if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '"')
      out += "&quot;";
    else if (c == '\'')
      out += "&#39;";
    else
      out.append(at, static_cast<std::size_t>(character.length));
    at += character.length;
  }
  return out;
}

// Six colours a run, each at least 4.5 to 1 against its ground in light and in dark; who cannot tell them apart has the dashes.
std::string_view report_style() {
  return R"(
:root{color-scheme:light dark;--paper:#fff;--card:#f7f8fa;--ink:#1b1f24;--quiet:#57606a;--rule:#d5dae0;--grid:#e4e8ec;
--c0:#0b5cad;--c1:#a84300;--c2:#0a6b45;--c3:#7a34b8;--c4:#b3203c;--c5:#0b6470;--bad:#b3203c}
@media (prefers-color-scheme:dark){:root{--paper:#14171b;--card:#1c2026;--ink:#e8eaed;--quiet:#a3acb7;--rule:#3a424c;
--grid:#2b3138;--c0:#74b6ff;--c1:#ffab5c;--c2:#5dd39e;--c3:#caa2ff;--c4:#ff8f9d;--c5:#5fd0dc;--bad:#ff8f9d}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:72rem;padding:1.5rem 1rem 3rem;background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;overflow-wrap:anywhere}
h1{font-size:1.6rem;line-height:1.2;margin:0 0 .4rem}
h2{font-size:1.15rem;margin:2.2rem 0 .6rem;padding-bottom:.2rem;border-bottom:1px solid var(--rule)}
h3{font-size:1rem;margin:0 0 .3rem}
p{margin:.3rem 0}
.verdict{font-size:1.1rem}
.quiet,figcaption,footer{color:var(--quiet);font-size:.875rem}
.problem{color:var(--bad)}
.charts{display:grid;gap:1.2rem;grid-template-columns:repeat(auto-fit,minmax(min(100%,27rem),1fr))}
figure{margin:0;padding:.7rem .8rem;background:var(--card);border:1px solid var(--rule);border-radius:.4rem;min-width:0;
break-inside:avoid}
svg{display:block;width:100%;height:auto}
.legend{display:flex;flex-wrap:wrap;gap:.1rem 1rem;margin:0;padding:0;list-style:none}
.legend li{display:flex;align-items:center;gap:.4rem}
.legend svg{width:2.6rem;height:.9rem;flex:none}
.grid{stroke:var(--grid);stroke-width:2;fill:none}
.axis{stroke:var(--quiet);stroke-width:2;fill:none}
.tick{fill:var(--quiet);font-size:27px;font-variant-numeric:tabular-nums}
.line{fill:none;stroke-width:4;stroke-linejoin:round;stroke-linecap:round}
.thin{stroke-width:2.5}
.band{opacity:.22;stroke:none}
.faint{opacity:.09}
.dot{stroke-width:13;stroke-linecap:round;fill:none}
.bad{stroke:var(--bad);stroke-width:4;fill:none}
.s0{stroke:var(--c0)}.s1{stroke:var(--c1)}.s2{stroke:var(--c2)}.s3{stroke:var(--c3)}.s4{stroke:var(--c4)}.s5{stroke:var(--c5)}
.f0{fill:var(--c0)}.f1{fill:var(--c1)}.f2{fill:var(--c2)}.f3{fill:var(--c3)}.f4{fill:var(--c4)}.f5{fill:var(--c5)}
.d1{stroke-dasharray:16 9}.d2{stroke-dasharray:3 9}.d3{stroke-dasharray:20 8 3 8}.d4{stroke-dasharray:8 7}
.d5{stroke-dasharray:26 7 3 7 3 7}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{max-width:26rem;overflow-wrap:break-word;padding:.25rem .9rem .25rem 0;text-align:left;vertical-align:top;border-bottom:1px solid var(--grid)}
th{font-weight:600}
tbody th{font-weight:400;color:var(--quiet)}
.best{font-weight:700}
.keys{columns:22rem;column-gap:2rem;font-size:.875rem;margin:0}
.keys div{display:flex;gap:.6rem;justify-content:space-between;border-bottom:1px solid var(--grid);break-inside:avoid}
.keys dt{color:var(--quiet)}
.keys dd{margin:0;text-align:right}
pre{margin:.4rem 0 1rem;padding:.7rem .8rem;background:var(--card);border:1px solid var(--rule);border-radius:.4rem;
white-space:pre-wrap;overflow-wrap:anywhere;font:.875rem/1.45 ui-monospace,"DejaVu Sans Mono",monospace}
summary{cursor:pointer}
footer{margin-top:2.5rem}
@media (max-width:40rem){.tick{font-size:34px}.line{stroke-width:5}.thin{stroke-width:3.5}body{padding-top:1rem}
th,td{padding-right:.6rem}}
@media print{:root{--paper:#fff;--card:#fff;--ink:#000;--quiet:#333;--rule:#999;--grid:#ccc;--c0:#0b5cad;--c1:#a84300;
--c2:#0a6b45;--c3:#7a34b8;--c4:#b3203c;--c5:#0b6470;--bad:#b3203c}body{max-width:none;padding:0;font-size:10.5pt}
.charts{grid-template-columns:1fr 1fr}.tick{font-size:34px}h2{break-after:avoid}pre,tr{break-inside:avoid}.wide{overflow:visible}}
)";
}

}  // namespace tradewind::launcher
