//! Spans of time, parts of a whole and numbers, as fields write them: plain digits, one unit.

use std::time::Duration;

/// A part of a whole, in tenths of a percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(u16);

impl Percent {
    /// `5%` or `0.5%`, up to `100%`.
    pub fn parse(text: &str) -> Option<Self> {
        let number = text.strip_suffix('%')?;
        if number == "100" {
            return Some(Self(1000));
        }
        let (whole, tenth) = match number.split_once('.') {
            Some((whole, tenth)) => (whole, digits(tenth, 1)?),
            None => (number, 0),
        };
        let canonical = whole == "0" || !whole.starts_with('0');
        let whole = digits(whole, 2).filter(|_| canonical)?;
        u16::try_from(whole * 10 + tenth).ok().map(Self)
    }

    pub const fn tenths(self) -> u16 {
        self.0
    }
}

/// A number that is not negative, in billionths: two texts of one value are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Decimal(u64);

impl Decimal {
    const DIGITS: usize = 9;
    const ONE: u64 = 1_000_000_000;

    /// `3` or `0.01`, with at most nine digits on each side.
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, part) = match text.split_once('.') {
            Some((whole, part)) => {
                digits(part, Self::DIGITS)?;
                (whole, digits(&format!("{part:0<9}"), Self::DIGITS)?)
            }
            None => (text, 0),
        };
        Some(Self(digits(whole, Self::DIGITS)? * Self::ONE + part))
    }

    pub const fn billionths(self) -> u64 {
        self.0
    }
}

/// A whole number and one unit: `500ms`, `30s`, `5m`, `2h`.
pub fn span(text: &str) -> Option<Duration> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(end);
    let number = digits(number, 6)?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_secs(number * 60)),
        "h" => Some(Duration::from_secs(number * 3600)),
        _ => None,
    }
}

fn digits(text: &str, most: usize) -> Option<u64> {
    let plain = !text.is_empty() && text.len() <= most && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percents_have_one_form() {
        for (text, tenths) in [
            ("0%", 0),
            ("0.5%", 5),
            ("5%", 50),
            ("99.9%", 999),
            ("100%", 1000),
        ] {
            assert_eq!(
                Percent::parse(text).map(Percent::tenths),
                Some(tenths),
                "{text}"
            );
        }
        for text in [
            "", "%", "5", "05%", "100.0%", "101%", "-1%", "+1%", "5.%", ".5%", "0.05%", "5 %", "٥%",
        ] {
            assert_eq!(Percent::parse(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_are_compared_by_their_value() {
        assert_eq!(Decimal::parse("1"), Decimal::parse("1.000"));
        assert!(Decimal::parse("0.01") < Decimal::parse("0.1"));
        let most = Decimal::parse("999999999.999999999").map(Decimal::billionths);
        assert_eq!(most, Some(999_999_999_999_999_999));
        for text in [
            "",
            ".",
            "1.",
            ".1",
            "1e3",
            "-1",
            "+1",
            "1234567890",
            "0.1234567890",
            "NaN",
        ] {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
    }

    #[test]
    fn spans_have_one_unit() {
        assert_eq!(span("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(span("2h"), Some(Duration::from_secs(7200)));
        assert_eq!(span("999999h"), Some(Duration::from_secs(999_999 * 3600)));
        for text in [
            "", "s", "5", "5 s", "1m30s", "-5s", "0.5s", "1000000s", "5S", "5d", "1e9s",
        ] {
            assert_eq!(span(text), None, "{text}");
        }
    }
}
