//! Axes: what range they cover, and where their ticks are.

/// An axis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    pub(super) label: &'static str,
    scale: Scale,
}

/// How values are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    /// Evenly, from zero.
    FromZero,
    /// By their logarithm, from a power of ten to a power of ten. For positive values.
    Logarithmic,
}

/// An axis with the range of what is shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    scale: Scale,
    low: f64,
    high: f64,
}

/// A labelled place on an axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tick {
    pub(super) value: f64,
    pub(super) label: String,
}

impl Axis {
    /// An axis with the name and the unit of its values.
    pub(super) const fn new(label: &'static str, scale: Scale) -> Self {
        Self { label, scale }
    }

    pub(super) fn range(&self, values: impl Iterator<Item = f64>) -> Range {
        let (lowest, highest) = values.fold((f64::INFINITY, 0.0_f64), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        // Without any value.
        let (lowest, highest) = if lowest.is_finite() {
            (lowest, highest)
        } else {
            (1.0, 1.0)
        };
        let (low, high) = match self.scale {
            Scale::FromZero => {
                let step = step(highest);
                (0.0, (highest / step).ceil().max(1.0) * step)
            }
            Scale::Logarithmic => {
                let low = 10_f64.powf(lowest.max(1e-9).log10().floor());
                let high = 10_f64.powf(highest.max(1e-9).log10().ceil());
                (low.min(high), high.max(low * 10.0))
            }
        };
        Range {
            scale: self.scale,
            low,
            high,
        }
    }
}

/// About five steps to `highest`, of 1, 2 or 5 times a power of ten.
fn step(highest: f64) -> f64 {
    let raw = (highest / 5.0).max(1e-9);
    let power = 10_f64.powf(raw.log10().floor());
    let digit = raw / power;
    let nice = [1.0, 2.0, 5.0].into_iter().find(|nice| digit <= *nice + 1e-9);
    nice.unwrap_or(10.0) * power
}

impl Range {
    /// Where a value lies between the ends, 0 to 1.
    pub(super) fn share(&self, value: f64) -> f64 {
        let share = match self.scale {
            Scale::FromZero => value / self.high,
            Scale::Logarithmic => (value.max(self.low) / self.low).log10() / (self.high / self.low).log10(),
        };
        share.clamp(0.0, 1.0)
    }

    pub(super) fn ticks(&self) -> Vec<Tick> {
        let values: Vec<f64> = match self.scale {
            Scale::FromZero => {
                let step = step(self.high);
                (0_u32..=10).map(|number| f64::from(number) * step).collect()
            }
            Scale::Logarithmic => (0..=12).map(|power| self.low * 10_f64.powi(power)).collect(),
        };
        let inside = values.into_iter().filter(|value| *value <= self.high * 1.000_001);
        inside
            .map(|value| Tick {
                value,
                label: label(value),
            })
            .collect()
    }
}

/// The number, with thousands apart.
fn label(value: f64) -> String {
    let text = format!("{value:.6}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    if fraction.is_empty() {
        grouped
    } else {
        format!("{grouped}.{fraction}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(scale: Scale, values: &[f64]) -> Vec<String> {
        let range = Axis::new("", scale).range(values.iter().copied());
        range.ticks().into_iter().map(|tick| tick.label).collect()
    }

    #[test]
    fn ticks_are_round_numbers_around_what_is_shown() {
        assert_eq!(
            ticks(Scale::FromZero, &[3.0, 43.0]),
            ["0", "10", "20", "30", "40", "50"]
        );
        assert_eq!(ticks(Scale::FromZero, &[0.31]), ["0", "0.1", "0.2", "0.3", "0.4"]);
        assert_eq!(
            ticks(Scale::Logarithmic, &[1.0, 9000.0]),
            ["1", "10", "100", "1\u{202f}000", "10\u{202f}000"]
        );
        assert_eq!(ticks(Scale::Logarithmic, &[0.5]), ["0.1", "1"]);
    }

    #[test]
    fn a_range_without_values_is_still_one() {
        assert_eq!(ticks(Scale::Logarithmic, &[]).len(), 2);
        let range = Axis::new("", Scale::FromZero).range(std::iter::empty());
        assert!(range.share(1.0).is_finite());
    }
}
