//! The report: one HTML file with its plots inside, to be looked at rather than read; and two of the plots as a picture.

use std::fmt::Write;
use std::path::Path;

use hdrhistogram::Histogram;

/// What one step came to.
pub(crate) struct Step {
    /// Recoveries offered a second, and those done.
    pub(crate) offered: f64,
    pub(crate) done: f64,
    /// Requests of a batch, on average.
    pub(crate) batch: f64,
    /// From when a KE1 was due to its KE2.
    pub(crate) start: Latency,
    /// From KE3 to the secret.
    pub(crate) finish: Latency,
    pub(crate) recovered: u64,
    pub(crate) wrong: u64,
    pub(crate) busy: u64,
}

/// Percentiles in milliseconds.
#[derive(Clone, Copy)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
}

impl Latency {
    /// Of a histogram in microseconds.
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
        Latency { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999) }
    }
}

/// A line of a plot: its name, its class in the style sheet, and its values, one a step.
struct Line {
    name: &'static str,
    class: &'static str,
    values: Vec<f64>,
}

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 90.0;
const TOP: f64 = 20.0;
const BOTTOM: f64 = 44.0;
/// Around a picture, and above each of its plots.
const MARGIN: f64 = 16.0;
const TITLE: f64 = 40.0;

/// An axis from `low` to `high`.
struct Axis {
    low: f64,
    high: f64,
    logarithmic: bool,
    ticks: Vec<f64>,
}

impl Axis {
    /// From zero to above all values, with round ticks.
    fn linear(values: impl Iterator<Item = f64>) -> Self {
        let most = values.fold(1e-9, f64::max);
        let rough = most / 5.0;
        let power = 10f64.powf(rough.log10().floor());
        let tick = [1.0, 2.0, 5.0, 10.0].map(|it| it * power).into_iter().find(|it| *it >= rough).unwrap_or(rough);
        let count = (most / tick).ceil();
        Axis {
            low: 0.0,
            high: count * tick,
            logarithmic: false,
            ticks: (0..=count as u32).map(|it| f64::from(it) * tick).collect(),
        }
    }

    /// Whole powers of ten around all values.
    fn logarithmic(values: impl Iterator<Item = f64> + Clone) -> Self {
        let low = values.clone().filter(|it| *it > 0.0).fold(f64::MAX, f64::min).log10().floor();
        let high = values.fold(1e-9, f64::max).log10().ceil().max(low + 1.0);
        let ticks = (low as i32..=high as i32).map(|power| 10f64.powi(power)).collect();
        Axis { low: 10f64.powf(low), high: 10f64.powf(high), logarithmic: true, ticks }
    }

    /// Where a value lies, from 0 to 1.
    fn place(&self, value: f64) -> f64 {
        let scale = |it: f64| if self.logarithmic { it.max(self.low).log10() } else { it };
        (scale(value) - scale(self.low)) / (scale(self.high) - scale(self.low))
    }
}

fn number(value: f64) -> String {
    match value {
        _ if value >= 10_000.0 => format!("{:.0}k", value / 1000.0),
        _ if value >= 10.0 || value == 0.0 => format!("{value:.0}"),
        _ if value >= 1.0 => format!("{value:.1}").trim_end_matches(".0").to_owned(),
        _ => format!("{value}"),
    }
}

/// A plot's title, and what is inside its `svg` element.
struct Plot {
    title: &'static str,
    inside: String,
}

impl Plot {
    fn figure(&self) -> String {
        let Plot { title, inside } = self;
        format!(
            "<figure><figcaption>{title}</figcaption><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">{inside}</svg></figure>"
        )
    }

    /// As a part of a picture, so far from the left and under its title.
    fn part(&self, from_left: f64) -> String {
        let Plot { title, inside } = self;
        let from_left = from_left + MARGIN;
        format!(
            "<text class=\"title\" x=\"{}\" y=\"{}\">{title}</text><svg x=\"{from_left}\" y=\"{TITLE}\" width=\"{WIDTH}\" \
             height=\"{HEIGHT}\">{inside}</svg>",
            from_left + LEFT,
            TITLE - 8.0
        )
    }
}

/// One plot over the offered load.
fn plot(title: &'static str, unit: &str, offered: &[f64], across: &Axis, up: &Axis, lines: &[Line]) -> Plot {
    let x = |value: f64| LEFT + across.place(value) * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| HEIGHT - BOTTOM - up.place(value) * (HEIGHT - TOP - BOTTOM);
    let mut svg = String::new();
    let mut put = |text: std::fmt::Arguments<'_>| svg.write_fmt(text).expect("a string takes all");
    for tick in &up.ticks {
        let at = y(*tick);
        put(format_args!(
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>",
            WIDTH - RIGHT
        ));
        put(format_args!(
            "<text class=\"tick end\" x=\"{}\" y=\"{:.1}\">{}</text>",
            LEFT - 8.0,
            at + 4.0,
            number(*tick)
        ));
    }
    for tick in &across.ticks {
        let at = x(*tick);
        put(format_args!(
            "<text class=\"tick middle\" x=\"{at:.1}\" y=\"{}\">{}</text>",
            HEIGHT - BOTTOM + 18.0,
            number(*tick)
        ));
    }
    put(format_args!(
        "<text class=\"tick middle\" x=\"{:.1}\" y=\"{}\">recoveries offered a second</text>",
        (LEFT + WIDTH - RIGHT) / 2.0,
        HEIGHT - 6.0
    ));
    put(format_args!("<text class=\"tick\" x=\"{LEFT}\" y=\"12\">{unit}</text>"));
    // Names beside the last points, kept apart.
    let mut names: Vec<_> = lines.iter().map(|line| (y(*line.values.last().unwrap_or(&0.0)), line)).collect();
    names.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut above = f64::MIN;
    for (at, line) in names {
        let at = at.max(above + 14.0);
        above = at;
        put(format_args!(
            "<text class=\"name {}\" x=\"{}\" y=\"{:.1}\">{}</text>",
            line.class,
            WIDTH - RIGHT + 8.0,
            at + 4.0,
            line.name
        ));
    }
    for line in lines {
        let points: Vec<_> =
            offered.iter().zip(&line.values).map(|(at, value)| format!("{:.1},{:.1}", x(*at), y(*value))).collect();
        put(format_args!("<polyline class=\"{}\" points=\"{}\"/>", line.class, points.join(" ")));
        for (at, value) in offered.iter().zip(&line.values) {
            put(format_args!(
                "<circle class=\"{}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.5\"><title>{}: {value:.2} at {at:.0} a second</title></circle>",
                line.class,
                x(*at),
                y(*value),
                line.name
            ));
        }
    }
    Plot { title, inside: svg }
}

const STYLE: &str = "
:root { color-scheme: light dark; --paper: #fbfaf7; --ink: #1d2330; --faint: #8a8f9a; --grid: #e3e1da;
        --a: #2f6f8f; --b: #c98a1b; --c: #b3403a; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #14171d; --ink: #e8e6df; --faint: #8d93a0; --grid: #2a2f39; --a: #6db3d3; --b: #e3b14f; --c: #e5796f; }
}
body { margin: 0 auto; padding: 3rem 1.5rem; max-width: 82rem; background: var(--paper); color: var(--ink);
       font: 16px/1.5 system-ui, sans-serif; }
h1 { font-weight: 600; margin: 0; }
p.lead { margin: .3rem 0 2rem; color: var(--faint); }
.figures { display: flex; flex-wrap: wrap; gap: 3rem; margin-bottom: 2rem; }
.figures div { min-width: 8rem; } .figures b { display: block; font-size: 2.2rem; font-weight: 600; line-height: 1.1; }
.figures span { color: var(--faint); }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(26rem, 1fr)); gap: 2rem; }
figure { margin: 0; } figcaption { font-weight: 600; margin-bottom: .4rem; } svg { width: 100%; height: auto; }
.grid { stroke: var(--grid); } .tick { fill: var(--faint); font-size: 12px; } .end { text-anchor: end; }
.middle { text-anchor: middle; } .name { font-size: 12px; font-weight: 600; stroke: none !important; }
polyline { fill: none; stroke-width: 2.5; stroke-linejoin: round; }
.a { stroke: var(--a); } .b { stroke: var(--b); } .c { stroke: var(--c); } .d { stroke: var(--faint); stroke-dasharray: 4 5; }
circle.a, text.a { fill: var(--a); } circle.b, text.b { fill: var(--b); } circle.c, text.c { fill: var(--c); }
circle.d { display: none; } text.d { fill: var(--faint); }
.paper { fill: var(--paper); } .title { fill: var(--ink); font: 600 16px system-ui, sans-serif; }
text { font-family: system-ui, sans-serif; }
table { border-collapse: collapse; margin-top: 2.5rem; width: 100%; font-variant-numeric: tabular-nums; }
th { color: var(--faint); font-weight: 400; } th, td { text-align: right; padding: .25rem .8rem; }
tr + tr td { border-top: 1px solid var(--grid); }
";

/// Writes the report, and where asked for the picture.
pub(crate) fn write(
    path: &Path,
    picture: Option<&Path>,
    peak: f64,
    wrong: u64,
    people: usize,
    steps: &[Step],
) -> std::io::Result<()> {
    let offered: Vec<_> = steps.iter().map(|step| step.offered).collect();
    let of = |name, class, value: fn(&Step) -> f64| Line { name, class, values: steps.iter().map(value).collect() };
    let across = Axis::linear(offered.iter().copied());
    let done = [of("offered", "d", |it| it.offered), of("done", "a", |it| it.done)];
    let latencies = |of_step: fn(&Step) -> Latency| {
        let line = |name, class, value: fn(Latency) -> f64| Line {
            name,
            class,
            values: steps.iter().map(|step| value(of_step(step))).collect(),
        };
        [line("p50", "a", |it| it.p50), line("p99", "b", |it| it.p99), line("p99.9", "c", |it| it.p999)]
    };
    let (start, finish) = (latencies(|it| it.start), latencies(|it| it.finish));
    let batch = [of("a batch", "a", |it| it.batch)];
    let all = |lines: &[Line]| lines.iter().flat_map(|line| line.values.clone()).collect::<Vec<_>>();
    let plots = [
        plot("Throughput", "recoveries done a second", &offered, &across, &Axis::linear(all(&done).into_iter()), &done),
        plot(
            "First step: from KE1 to KE2",
            "ms",
            &offered,
            &across,
            &Axis::logarithmic(all(&start).into_iter()),
            &start,
        ),
        plot(
            "Second step: from KE3 to the secret",
            "ms",
            &offered,
            &across,
            &Axis::logarithmic(all(&finish).into_iter()),
            &finish,
        ),
        plot(
            "Requests that shared a batch",
            "requests",
            &offered,
            &across,
            &Axis::linear(all(&batch).into_iter()),
            &batch,
        ),
    ];
    let tenth = steps.iter().find(|step| step.offered >= 0.099 * peak).or(steps.first());
    let figure = |value: String, words: &str| format!("<div><b>{value}</b><span>{words}</span></div>");
    let figures = [
        figure(format!("{peak:.0}"), "recoveries a second at the peak"),
        figure(
            tenth.map_or_else(String::new, |it| format!("{:.2} ms", it.start.p50)),
            "median first step at a tenth of it",
        ),
        figure(tenth.map_or_else(String::new, |it| format!("{:.2} ms", it.start.p99)), "p99 of the same"),
        figure(
            steps.last().map_or_else(String::new, |it| format!("{:.0}", it.batch)),
            "requests a batch above the peak",
        ),
    ];
    let rows: String = steps
        .iter()
        .map(|step| {
            let Latency { p50, p90, p99, p999 } = step.start;
            format!(
                "<tr><td>{:.0}<td>{:.0}<td>{p50:.2}<td>{p90:.2}<td>{p99:.2}<td>{p999:.2}<td>{:.2}<td>{:.2}<td>{:.1}<td>{}<td>{}<td>{}</tr>",
                step.offered, step.done, step.finish.p50, step.finish.p99, step.batch, step.recovered, step.wrong, step.busy
            )
        })
        .collect();
    let page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>strongroom under load</title><style>{STYLE}</style>\
         <h1>strongroom under load</h1>\
         <p class=\"lead\">{people} people, {wrong} % wrong codes, clients and server on one machine ({} cores, {} backend); \
         a recovery is two requests, each durable before it is answered.</p>\
         <div class=\"figures\">{}</div><div class=\"plots\">{}</div>\
         <table><tr><th>offered/s<th>done/s<th>p50 ms<th>p90<th>p99<th>p99.9<th>second step p50<th>p99<th>batch<th>recovered<th>wrong code<th>busy</tr>{rows}</table></html>",
        std::thread::available_parallelism().map_or(1, usize::from),
        strongroom::engine::backend().name(),
        figures.concat(),
        plots.iter().map(Plot::figure).collect::<String>(),
    );
    std::fs::write(path, page)?;
    let Some(picture) = picture else { return Ok(()) };
    let (width, height) = (2.0 * WIDTH + 2.0 * MARGIN, HEIGHT + TITLE + MARGIN);
    let drawn = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\"><style>{STYLE}</style>\
         <rect class=\"paper\" width=\"{width}\" height=\"{height}\"/>{}{}</svg>",
        plots[0].part(0.0),
        plots[1].part(WIDTH)
    );
    std::fs::write(picture, drawn)
}
