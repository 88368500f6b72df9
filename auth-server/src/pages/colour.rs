//! Colours and their contrast (WCAG 2.2, relative luminance and contrast ratio).

use std::fmt;

/// A colour in sRGB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Colour(pub(super) [u8; 3]);

impl Colour {
    pub(super) const BLACK: Self = Self([0, 0, 0]);
    pub(super) const WHITE: Self = Self([255, 255, 255]);

    /// The contrast ratio to another colour, 1 to 21.
    pub(super) fn contrast(self, other: Self) -> f64 {
        let (a, b) = (self.luminance(), other.luminance());
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    /// This colour with `percent` of another mixed in, 0 to 100.
    pub(super) fn mix(self, other: Self, percent: u8) -> Self {
        let ([r, g, b], [other_r, other_g, other_b]) = (self.0, other.0);
        Self([
            mix_channel(r, other_r, percent),
            mix_channel(g, other_g, percent),
            mix_channel(b, other_b, percent),
        ])
    }

    /// The colour nearest to this one, on the way to `target`, that has `ratio` against every surface.
    pub(super) fn adjusted(self, target: Self, surfaces: &[Self], ratio: f64) -> Self {
        (0..=100)
            .step_by(2)
            .map(|percent| self.mix(target, percent))
            .find(|colour| surfaces.iter().all(|surface| colour.contrast(*surface) >= ratio))
            .unwrap_or(target)
    }

    /// The lightest colour of the same hue and saturation, the way a dark brand is lifted without turning grey.
    pub(super) fn vivid(self) -> Self {
        let most = self.0.into_iter().max().unwrap_or_default();
        if most == 0 {
            return Self::WHITE;
        }
        let scale = |channel: u8| u8::try_from(u16::from(channel) * 255 / u16::from(most)).unwrap_or(u8::MAX);
        Self(self.0.map(scale))
    }

    fn luminance(self) -> f64 {
        let [r, g, b] = self.0.map(|channel| {
            let value = f64::from(channel) / 255.0;
            if value <= 0.040_45 {
                value / 12.92
            } else {
                ((value + 0.055) / 1.055).powf(2.4)
            }
        });
        0.2126 * r + 0.7152 * g + 0.0722 * b
    }
}

/// As CSS writes it: `#0b6470`.
impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [r, g, b] = self.0;
        write!(f, "#{r:02x}{g:02x}{b:02x}")
    }
}

fn mix_channel(own: u8, other: u8, percent: u8) -> u8 {
    let percent = u16::from(percent.min(100));
    let mixed = (u16::from(own) * (100 - percent) + u16::from(other) * percent + 50) / 100;
    u8::try_from(mixed).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contrast_is_what_wcag_says() {
        assert!((Colour::BLACK.contrast(Colour::WHITE) - 21.0).abs() < 0.001);
        assert!((Colour([0x76, 0x76, 0x76]).contrast(Colour::WHITE) - 4.54).abs() < 0.01);
        assert!((Colour([0xff, 0, 0]).contrast(Colour::WHITE) - 3.998).abs() < 0.01);
    }

    #[test]
    fn adjusting_stops_as_soon_as_the_ratio_holds() {
        let good = Colour([0, 0x40, 0x60]);
        assert_eq!(good.adjusted(Colour::BLACK, &[Colour::WHITE], 4.5), good);
        let pale = Colour([0xff, 0xcc, 0]).adjusted(Colour::BLACK, &[Colour::WHITE], 4.5);
        assert!((4.5..5.0).contains(&pale.contrast(Colour::WHITE)), "{pale}");
    }
}
