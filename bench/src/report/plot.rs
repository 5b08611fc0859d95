//! Plots as SVG: curves over categories, and dots in rows. They carry their background, so they read alike on light and
//! on dark pages.

use std::fmt::Write as _;

use crate::stats::median;

const WIDTH: f64 = 760.0;
const TOP: f64 = 64.0;
const FONT: &str = "font-family=\"sans-serif\"";
const INK: &str = "#222222";
const FAINT: &str = "#d8d8d8";

/// One value of each size, with the ends of its interval if it has one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Point {
    pub(super) value: f64,
    pub(super) span: Option<(f64, f64)>,
}

/// A curve; it has no point where there is none.
#[derive(Debug)]
pub(super) struct Curve {
    pub(super) name: &'static str,
    pub(super) color: &'static str,
    pub(super) points: Vec<Option<Point>>,
}

/// What is drawn.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    pub(super) title: &'a str,
    /// Of the axis with the values.
    pub(super) unit: &'a str,
}

/// Values on an axis of powers of ten, from below the least to above the greatest.
struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Scale {
    fn over(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let (low, high) = values
            .filter(|value| *value > 0.0)
            .fold((f64::MAX, f64::MIN), |(low, high), value| {
                (low.min(value), high.max(value))
            });
        let (low, high) = if low > high { (1.0, 10.0) } else { (low, high) };
        Self {
            low: low / 1.25,
            high: high * 1.25,
            from,
            to,
        }
    }

    fn at(&self, value: f64) -> f64 {
        let part = (value / self.low).ln() / (self.high / self.low).ln();
        self.from + part * (self.to - self.from)
    }

    /// 1, 2 and 5 times the powers of ten; of a short axis also what is between.
    fn marks(&self) -> Vec<f64> {
        let steps: &[f64] = match self.high / self.low {
            wide if wide > 200.0 => &[1.0],
            short if short < 4.0 => &[1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0],
            _ => &[1.0, 2.0, 5.0],
        };
        (-4..9)
            .flat_map(|power| steps.iter().map(move |step| step * 10f64.powi(power)))
            .filter(|mark| (self.low..=self.high).contains(mark))
            .collect()
    }
}

/// Curves over categories, which are as far apart as their neighbours.
pub(super) fn curves(
    frame: &Frame<'_>,
    categories: &[String],
    below: &str,
    curves: &[Curve],
) -> String {
    let (left, right, bottom, height) = (70.0, 20.0, 320.0, 372.0);
    let values = curves.iter().flat_map(|curve| &curve.points).flatten();
    let ends = values.flat_map(|point| {
        let (low, high) = point.span.unwrap_or((point.value, point.value));
        [low, high]
    });
    let scale = Scale::over(ends, bottom, TOP);
    let step = (WIDTH - left - right) / categories.len().max(1) as f64;
    let x = |index: usize| left + step * (index as f64 + 0.5);
    let mut svg = open(frame, height);
    for mark in scale.marks() {
        let y = scale.at(mark);
        line(&mut svg, (left, y), (WIDTH - right, y), FAINT);
        text(&mut svg, (left - 8.0, y + 4.0), "end", &label(mark));
    }
    for (index, category) in categories.iter().enumerate() {
        text(&mut svg, (x(index), bottom + 20.0), "middle", category);
    }
    text(
        &mut svg,
        (left + (WIDTH - left - right) / 2.0, bottom + 40.0),
        "middle",
        below,
    );
    for curve in curves {
        draw(&mut svg, curve, x, &scale);
    }
    legend(&mut svg, left, curves);
    svg.push_str("</svg>\n");
    svg
}

fn draw(svg: &mut String, curve: &Curve, x: impl Fn(usize) -> f64, scale: &Scale) {
    let color = curve.color;
    let points: Vec<_> = curve
        .points
        .iter()
        .enumerate()
        .filter_map(|(index, point)| Some((x(index), (*point)?)))
        .collect();
    let path: Vec<_> = points
        .iter()
        .map(|(x, point)| format!("{x:.1},{:.1}", scale.at(point.value)))
        .collect();
    let path = path.join(" ");
    let _ = writeln!(
        svg,
        r#"<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>"#
    );
    for (x, point) in points {
        if let Some((low, high)) = point.span {
            let (low, high) = (scale.at(low), scale.at(high));
            for (from, to) in [
                ((x, low), (x, high)),
                ((x - 4.0, low), (x + 4.0, low)),
                ((x - 4.0, high), (x + 4.0, high)),
            ] {
                line(svg, from, to, color);
            }
        }
        dot(svg, (x, scale.at(point.value)), 3.5, color, 1.0);
    }
}

fn legend(svg: &mut String, left: f64, curves: &[Curve]) {
    let mut x = left;
    for curve in curves {
        let color = curve.color;
        dot(svg, (x + 5.0, 46.0), 5.0, color, 1.0);
        text(svg, (x + 16.0, 50.0), "start", curve.name);
        x += 28.0 + 6.6 * curve.name.chars().count() as f64;
    }
}

/// A row of dots for each name, one dot for each value and a line at the median.
pub(super) fn dots(frame: &Frame<'_>, rows: &[(String, &'static str, Vec<f64>)]) -> String {
    let (left, right, step) = (210.0, 30.0, 44.0);
    let bottom = 48.0 + step * rows.len() as f64;
    let values = rows.iter().flat_map(|(_, _, values)| values).copied();
    let scale = Scale::over(values, left, WIDTH - right);
    let mut svg = open(frame, bottom + 40.0);
    for mark in scale.marks() {
        let x = scale.at(mark);
        line(&mut svg, (x, 48.0), (x, bottom), FAINT);
        text(&mut svg, (x, bottom + 18.0), "middle", &label(mark));
    }
    for (index, (name, color, values)) in rows.iter().enumerate() {
        let y = 48.0 + step * (index as f64 + 0.5);
        text(&mut svg, (left - 12.0, y + 4.0), "end", name);
        for value in values.iter().filter(|value| **value > 0.0) {
            dot(&mut svg, (scale.at(*value), y), 4.0, color, 0.45);
        }
        if let Some(median) = median(values).filter(|median| *median > 0.0) {
            let x = scale.at(median);
            line(&mut svg, (x, y - 14.0), (x, y + 14.0), color);
        }
    }
    svg.push_str("</svg>\n");
    svg
}

fn open(frame: &Frame<'_>, height: f64) -> String {
    let Frame { title, unit } = frame;
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" aria-label="{title}">
<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>
<text x="16" y="26" {FONT} font-size="16" font-weight="bold" fill="{INK}">{title}</text>
"##
    );
    text(&mut svg, (WIDTH - 16.0, 26.0), "end", unit);
    svg
}

fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, content: &str) {
    let _ = writeln!(
        svg,
        r#"<text x="{x:.1}" y="{y:.1}" {FONT} font-size="13" fill="{INK}" text-anchor="{anchor}">{content}</text>"#
    );
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64), color: &str) {
    let ((x1, y1), (x2, y2)) = (from, to);
    let _ = writeln!(
        svg,
        r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" stroke="{color}" stroke-width="1.5"/>"#
    );
}

fn dot(svg: &mut String, (x, y): (f64, f64), radius: f64, color: &str, opacity: f64) {
    let _ = writeln!(
        svg,
        r#"<circle cx="{x:.1}" cy="{y:.1}" r="{radius}" fill="{color}" fill-opacity="{opacity}"/>"#
    );
}

fn label(mark: f64) -> String {
    // Marks are a few digits times a power of ten; what is left is the error of the multiplication.
    let rounded = (mark * 1e6).round() / 1e6;
    rounded.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_holds_all_values_in_order() {
        let scale = Scale::over([8.0, 400.0, 20.0].into_iter(), 0.0, 100.0);
        let places: Vec<_> = [8.0, 20.0, 400.0].map(|value| scale.at(value)).into();
        assert!(
            places.is_sorted() && places[0] > 0.0 && places[2] < 100.0,
            "{places:?}"
        );
        let marks: Vec<_> = scale.marks().into_iter().map(label).collect();
        assert_eq!(marks, ["10", "20", "50", "100", "200", "500"]);
    }

    #[test]
    fn a_curve_leaves_out_what_was_not_reached() {
        let point = Some(Point {
            value: 2.0,
            span: None,
        });
        let curve = Curve {
            name: "a",
            color: "#000000",
            points: vec![point, None],
        };
        let frame = Frame {
            title: "t",
            unit: "µs",
        };
        let svg = curves(&frame, &["10".to_owned(), "20".to_owned()], "n", &[curve]);
        // One in the plot, one in the legend.
        assert_eq!(svg.matches("<circle").count(), 2);
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
    }
}
