//! The page of `cdr stats`: one file, which needs nothing else.

use std::fmt::{self, Write as _};

use cdr_model::stats::{Finding, Verdict};

use super::map::map;
use super::measure::Measured;
use super::plot::plot;
use super::report::{extent, kept};

const STYLE: &str = "\
:root{color-scheme:light dark;--found:#0b6bcb;--target:#d9480f;--line:#8884;--bad:#c92a2a;--good:#2b8a3e}
body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
td,th{padding:.25rem .6rem;text-align:left;border-bottom:1px solid var(--line)}
.number{text-align:right}.ok{color:var(--good)}.off{color:var(--bad);font-weight:600}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(20rem,1fr));gap:1rem;margin:1.5rem 0}
.maps{grid-template-columns:repeat(auto-fit,minmax(15rem,1fr))}
figure{margin:0;border:1px solid var(--line);border-radius:.5rem;padding:.75rem}
figcaption{font-weight:600}svg{width:100%;height:auto}svg text{font-size:11px;fill:currentColor}
.found{stroke:var(--found);fill:none;stroke-width:4;opacity:.5}
.target{stroke:var(--target);fill:none;stroke-width:1.5;stroke-dasharray:5 4}.axis{stroke:var(--line)}
b.few{color:#3b6fb6}b.more{color:#c8553d}
.key b{color:var(--found)}.key i{color:var(--target);font-style:normal;font-weight:600}
";

/// What was found, as a page.
pub fn page(measured: &Measured, findings: &[Finding]) -> Result<String, fmt::Error> {
    let mut html = String::new();
    write!(
        html,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>cdr stats</title>\n\
         <style>\n{STYLE}</style></head>\n<body>\n<h1>Call detail records, measured</h1>\n\
         <p>{} {}</p>\n<p class=\"key\"><b>━ found</b> &nbsp; <i>╍ target</i></p>\n<div class=\"plots\">\n",
        extent(measured),
        kept(findings)
    )?;
    for curve in measured.statistics.curves() {
        plot(&mut html, &curve)?;
    }
    html.push_str("</div>\n");
    let maps = measured.statistics.maps();
    if !maps.is_empty() {
        html.push_str(
            "<h2>Towers by time of day</h2>\n<p>A tower's area is its share of the records of that time, \
             its colour how that compares with its share of the whole day: <b class=\"few\">fewer</b>, the \
             same, or <b class=\"more\">more</b>.</p>\n<div class=\"plots maps\">\n",
        );
        for one in &maps {
            map(&mut html, one)?;
        }
        html.push_str("</div>\n");
    }
    html.push_str("<table><tr><th>law<th class=\"number\">found<th>target<th><th>source</tr>\n");
    for finding in findings {
        let Finding { law, source, .. } = finding;
        let (class, verdict) = match finding.verdict() {
            Verdict::Kept => ("ok", "kept"),
            Verdict::Broken => ("off", "not kept"),
            Verdict::TooFew => ("few", "too few records"),
        };
        let (found, target) = (finding.number(), finding.range());
        writeln!(
            html,
            "<tr><td>{law}<td class=\"number\">{found}<td>{target}<td class=\"{class}\">{verdict}<td>{source}</tr>"
        )?;
    }
    html.push_str("</table>\n</body></html>\n");
    Ok(html)
}
