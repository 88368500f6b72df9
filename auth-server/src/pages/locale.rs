//! The languages pages exist in, and the choice among them.

use std::{fmt, str::FromStr};

/// A language with a complete set of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Locale {
    /// English, the fallback.
    English,
    /// German.
    German,
    /// Arabic, written from right to left.
    Arabic,
}

impl Locale {
    /// Every locale, the fallback first.
    pub const ALL: [Self; 3] = [Self::English, Self::German, Self::Arabic];

    /// The BCP 47 tag, for the `lang` attribute and `Content-Language`.
    pub const fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
            Self::Arabic => "ar",
        }
    }

    /// The writing direction, for the `dir` attribute.
    pub const fn direction(self) -> &'static str {
        match self {
            Self::English | Self::German => "ltr",
            Self::Arabic => "rtl",
        }
    }
}

impl fmt::Display for Locale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.tag())
    }
}

/// No messages exist in this language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no messages in this language")]
pub struct UnknownLocale;

impl FromStr for Locale {
    type Err = UnknownLocale;

    /// Finds the locale of a language tag by lookup: `de-CH` is [`Locale::German`] (RFC 4647 §3.4).
    fn from_str(tag: &str) -> Result<Self, UnknownLocale> {
        lookup(tag, &Self::ALL).ok_or(UnknownLocale)
    }
}

/// How many ranges of a request are looked at; the rest of an over-long list is ignored.
const MAX_RANGES: usize = 32;

/// Chooses the language of a page: first `ui_locales` (OpenID Connect Core §3.1.2.1: space-separated, by
/// preference), then `Accept-Language` by quality (RFC 9110 §12.5.4), each by lookup (RFC 4647 §3.4) among
/// `realm_locales`, whose first entry is the realm's default. An empty `realm_locales` means all locales.
pub fn negotiate(ui_locales: Option<&str>, accept_language: Option<&str>, realm_locales: &[Locale]) -> Locale {
    let offered = if realm_locales.is_empty() {
        Locale::ALL.as_slice()
    } else {
        realm_locales
    };
    let asked = ui_locales.unwrap_or_default().split_ascii_whitespace().take(MAX_RANGES);
    let accepted = by_quality(accept_language.unwrap_or_default());
    asked
        .chain(accepted.into_iter().map(|(range, _)| range))
        .find_map(|range| {
            if range == "*" {
                offered.first().copied()
            } else {
                lookup(range, offered)
            }
        })
        .or_else(|| offered.first().copied())
        .unwrap_or(Locale::English)
}

/// Lookup of one range: the tag itself, then shortened from its end.
fn lookup(range: &str, offered: &[Locale]) -> Option<Locale> {
    let mut range = range;
    loop {
        if let Some(found) = offered
            .iter()
            .copied()
            .find(|locale| locale.tag().eq_ignore_ascii_case(range))
        {
            return Some(found);
        }
        range = range.rsplit_once('-')?.0;
    }
}

/// The ranges of an `Accept-Language` value with their quality in thousandths, best first, order kept among
/// equals; what cannot be read or has quality zero is left out.
fn by_quality(header: &str) -> Vec<(&str, u16)> {
    let mut ranges: Vec<(&str, u16)> = header
        .split(',')
        .take(MAX_RANGES)
        .filter_map(|item| {
            let (range, weight) = item.split_once(';').unwrap_or((item, "q=1"));
            let quality = thousandths(weight.trim().strip_prefix("q=")?)?;
            (quality > 0 && !range.trim().is_empty()).then(|| (range.trim(), quality))
        })
        .collect();
    ranges.sort_by_key(|&(_, quality)| std::cmp::Reverse(quality));
    ranges
}

/// A quality value: `0`, `1`, or one of them with up to three digits after the point.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let fraction = format!("{fraction:0<3}").parse::<u16>().ok()?;
    match whole {
        "0" => Some(fraction),
        "1" if fraction == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::Locale::{Arabic, English, German};
    use super::*;

    #[track_caller]
    fn check_negotiate(ui: Option<&str>, accept: Option<&str>, realm: &[Locale], expected: Locale) {
        assert_eq!(negotiate(ui, accept, realm), expected, "{ui:?} {accept:?} {realm:?}");
    }

    #[test]
    fn ui_locales_win_over_the_browser() {
        check_negotiate(Some("de"), Some("en"), &[], German);
        check_negotiate(Some("fr de"), Some("ar"), &[], German);
        check_negotiate(Some("fr"), Some("ar"), &[], Arabic);
    }

    #[test]
    fn a_region_falls_back_to_its_language() {
        check_negotiate(Some("de-CH-1996"), None, &[], German);
        check_negotiate(None, Some("AR-eg"), &[], Arabic);
        assert_eq!("de-AT".parse(), Ok(German));
        assert_eq!("fr".parse::<Locale>(), Err(UnknownLocale));
    }

    #[test]
    fn quality_orders_the_browsers_wishes() {
        check_negotiate(None, Some("en;q=0.5, de;q=0.9"), &[], German);
        check_negotiate(None, Some("de;q=0, ar;q=0.1"), &[], Arabic);
        check_negotiate(None, Some("ar, de"), &[], Arabic);
    }

    #[test]
    fn only_the_realms_locales_are_offered() {
        check_negotiate(Some("ar"), Some("ar"), &[German, English], German);
        check_negotiate(None, Some("fr, *;q=0.1"), &[German, English], German);
        check_negotiate(None, None, &[German], German);
        check_negotiate(None, None, &[], English);
    }

    #[test]
    fn nonsense_is_ignored() {
        for accept in [
            "",
            ";",
            ",,,",
            "de;q=2",
            "de;q=0.1234",
            "de;q=-1",
            "de;level=1",
            "-",
            "--",
            "\u{0}",
        ] {
            check_negotiate(None, Some(accept), &[], English);
        }
        check_negotiate(
            Some(&"x-".repeat(10_000)),
            Some(&"de;q=x,".repeat(10_000)),
            &[],
            English,
        );
    }
}
