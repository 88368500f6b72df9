//! What a realm looks like: computed once when its configuration arrives, borrowed by every page.
//!
//! The brand colour itself may be anything. What is derived from it always has enough contrast: text on the brand
//! and the brand as text ≥ 4.5:1, the edge of a button ≥ 3:1, in the light and in the dark scheme.

use super::colour::Colour;

/// Nauthera's own colour.
const DEFAULT_BRAND: Colour = Colour([0x0b, 0x5c, 0x6b]);
/// Dark text on light brand colours.
const DARK_TEXT: Colour = Colour([0x10, 0x13, 0x1a]);

/// The surfaces of one scheme that brand colours lie on; the same values stand in `assets/nauthera.css`.
struct Scheme {
    card: Colour,
    page: Colour,
    /// Where to move a brand colour for more contrast.
    contrasting: Colour,
    /// The least contrast of a filled button to the card.
    fill_contrast: f64,
}

const LIGHT: Scheme = Scheme {
    card: Colour([0xff, 0xff, 0xff]),
    page: Colour([0xf3, 0xf4, 0xf6]),
    contrasting: Colour::BLACK,
    // The colour people know is kept; its edge gives the contrast.
    fill_contrast: 1.0,
};

const DARK: Scheme = Scheme {
    card: Colour([0x16, 0x1a, 0x21]),
    page: Colour([0x0c, 0x0e, 0x13]),
    contrasting: Colour::WHITE,
    // Deep colours would sink into the dark card.
    fill_contrast: 3.0,
};

/// The realm's own links, shown below every page; rendered only when they are `http`, `https` or `mailto` URLs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Links {
    /// Help or support.
    pub help: Option<String>,
    /// Privacy policy.
    pub privacy: Option<String>,
    /// Terms of service.
    pub terms: Option<String>,
}

/// The look of one realm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RealmLook {
    pub(super) display_name: String,
    pub(super) logo: Option<String>,
    pub(super) links: Links,
    /// The custom properties of the brand, ready for a style element: only names and colours of ours.
    pub(super) css: String,
}

impl RealmLook {
    /// Computes the look. `primary` is the brand colour as red, green, blue; none gives Nauthera's own. `logo` is
    /// the address of a picture on our own origin, or a `data:` URL; none shows Nauthera's mark.
    pub fn new(display_name: String, primary: Option<[u8; 3]>, logo: Option<String>, links: Links) -> Self {
        let brand = primary.map_or(DEFAULT_BRAND, Colour);
        let light = Brand::of(brand, &LIGHT).css();
        let dark = Brand::of(brand, &DARK).css();
        let css = format!(":root{{{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}");
        Self {
            display_name,
            logo,
            links,
            css,
        }
    }

    /// The look where no realm is known, such as at an address that belongs to none.
    pub fn nauthera() -> Self {
        Self::new("Nauthera".to_owned(), None, None, Links::default())
    }

    /// The name people know the realm by.
    pub fn display_name(&self) -> &str {
        &self.display_name
    }
}

/// What one scheme makes of a brand colour.
#[derive(Debug)]
struct Brand {
    /// Filled buttons.
    fill: Colour,
    /// Filled buttons under the pointer.
    hover: Colour,
    /// Text on `fill` and `hover`.
    on_fill: Colour,
    /// The edge of filled buttons.
    edge: Colour,
    /// Links, icons and the focus ring.
    ink: Colour,
}

impl Brand {
    fn of(brand: Colour, scheme: &Scheme) -> Self {
        let toward = if scheme.contrasting == Colour::WHITE {
            brand.vivid()
        } else {
            scheme.contrasting
        };
        let fill = brand.adjusted(toward, &[scheme.card], scheme.fill_contrast).adjusted(
            scheme.contrasting,
            &[scheme.card],
            scheme.fill_contrast,
        );
        let on_fill = [Colour::WHITE, DARK_TEXT]
            .into_iter()
            .find(|text| text.contrast(fill) >= 4.5)
            .unwrap_or(Colour::BLACK);
        let hover = if on_fill == Colour::WHITE {
            fill.mix(Colour::BLACK, 14)
        } else {
            fill.mix(Colour::WHITE, 20)
        };
        let edge = fill.adjusted(scheme.contrasting, &[scheme.card], 3.0);
        // A little above 4.5, so that the ink also holds on a tint of itself.
        let ink = brand.adjusted(toward, &[scheme.card, scheme.page], 5.6).adjusted(
            scheme.contrasting,
            &[scheme.card, scheme.page],
            5.6,
        );
        Self {
            fill,
            hover,
            on_fill,
            edge,
            ink,
        }
    }

    fn css(&self) -> String {
        let Self {
            fill,
            hover,
            on_fill,
            edge,
            ink,
        } = self;
        format!("--brand:{fill};--brand-hover:{hover};--on-brand:{on_fill};--brand-edge:{edge};--brand-ink:{ink}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_brand_colour_gives_enough_contrast_in_both_schemes() {
        let steps = [0u8, 0x33, 0x66, 0x80, 0x99, 0xcc, 0xff];
        for r in steps {
            for g in steps {
                for b in steps {
                    for scheme in [&LIGHT, &DARK] {
                        check_contrast(Colour([r, g, b]), scheme);
                    }
                }
            }
        }
    }

    #[track_caller]
    fn check_contrast(colour: Colour, scheme: &Scheme) {
        let brand = Brand::of(colour, scheme);
        let tint = scheme.card.mix(brand.ink, 10);
        for (ratio, least) in [
            (brand.on_fill.contrast(brand.fill), 4.5),
            (brand.on_fill.contrast(brand.hover), 4.5),
            (brand.edge.contrast(scheme.card), 3.0),
            (brand.ink.contrast(scheme.card), 4.5),
            (brand.ink.contrast(scheme.page), 4.5),
            (brand.ink.contrast(tint), 4.5),
        ] {
            assert!(ratio >= least, "{colour}: {ratio} < {least} in {brand:?}");
        }
    }

    #[test]
    fn the_stylesheet_has_the_same_surfaces() {
        let css = include_str!("../../assets/nauthera.css");
        let (light, dark) = css.split_once("prefers-color-scheme: dark").expect("a dark scheme");
        for (part, scheme) in [(light, &LIGHT), (dark, &DARK)] {
            assert!(
                part.contains(&format!("--card: {};", scheme.card)),
                "card {}",
                scheme.card
            );
            assert!(
                part.contains(&format!("--page: {};", scheme.page)),
                "page {}",
                scheme.page
            );
        }
    }

    #[test]
    fn the_brand_is_kept_where_it_can_be() {
        let look = RealmLook::new("Acme".to_owned(), Some([0x6d, 0x28, 0xd9]), None, Links::default());
        assert!(look.css.starts_with(":root{--brand:#6d28d9;"), "{}", look.css);
    }
}
