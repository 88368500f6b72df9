//! What pages say, in each language.
//!
//! The Fluent files in `locales/` are compiled in. A language is resolved on first use and kept: a message becomes
//! the literals around its one value, so that a request joins strings and evaluates no Fluent. The exception are
//! waiting times, whose plural form depends on the number.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
    sync::OnceLock,
    time::Duration,
};

use fluent_bundle::{FluentArgs, FluentResource, FluentValue, concurrent::FluentBundle};

use super::Locale;

/// Declares the messages with their keys in the Fluent files.
macro_rules! messages {
    ($($name:ident = $key:literal,)*) => {
        /// A message. Its variants are the keys of the Fluent files.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Message { $($name,)* }

        impl Message {
            const ALL: &[Self] = &[$(Self::$name,)*];

            const fn key(self) -> &'static str {
                match self { $(Self::$name => $key,)* }
            }
        }
    };
}

messages! {
    ContinueTo = "continue-to",
    NotYou = "not-you",
    SignedInAs = "signed-in-as",
    Help = "help",
    Privacy = "privacy",
    Terms = "terms",
    WaitMinutes = "wait-minutes",

    LoginTitle = "login-title",
    LoginAgainTitle = "login-again-title",
    LoginAgainLead = "login-again-lead",
    LoginButton = "login-button",
    IdentifierUsername = "identifier-username",
    IdentifierEmail = "identifier-email",
    IdentifierPhone = "identifier-phone",
    IdentifierUsernameOrEmail = "identifier-username-or-email",
    IdentifierUsernameOrPhone = "identifier-username-or-phone",
    IdentifierEmailOrPhone = "identifier-email-or-phone",
    IdentifierAny = "identifier-any",
    Password = "password",
    PasswordShow = "password-show",
    WrongCredentials = "wrong-credentials",
    WrongPassword = "wrong-password",
    MissingIdentifier = "missing-identifier",
    MissingPassword = "missing-password",
    LoginExpired = "login-expired",
    TooManyAttempts = "too-many-attempts",

    ConsentTitle = "consent-title",
    ConsentHeading = "consent-heading",
    ConsentLead = "consent-lead",
    ConsentNew = "consent-new",
    ConsentNote = "consent-note",
    ConsentPolicy = "consent-policy",
    ConsentTerms = "consent-terms",
    ConsentAllow = "consent-allow",
    ConsentDeny = "consent-deny",
    ScopeOpenid = "scope-openid",
    ScopeProfile = "scope-profile",
    ScopeEmail = "scope-email",
    ScopeAddress = "scope-address",
    ScopePhone = "scope-phone",
    ScopeOfflineAccess = "scope-offline-access",
    ScopeOther = "scope-other",

    ChooseTitle = "choose-title",
    ChooseContinue = "choose-continue",
    ChooseOther = "choose-other",

    LogoutTitle = "logout-title",
    LogoutHeading = "logout-heading",
    LogoutLead = "logout-lead",
    LogoutAsked = "logout-asked",
    LogoutButton = "logout-button",
    LogoutStay = "logout-stay",
    LoggedOutTitle = "logged-out-title",
    LoggedOutLead = "logged-out-lead",
    LoggedOutContinue = "logged-out-continue",

    FormPostTitle = "form-post-title",
    FormPostLead = "form-post-lead",
    Continue = "continue",

    ErrorRedirectUri = "error-redirect-uri",
    ErrorRedirectUriWhat = "error-redirect-uri-what",
    ErrorRedirectUriDo = "error-redirect-uri-do",
    ErrorUnknownClient = "error-unknown-client",
    ErrorUnknownClientWhat = "error-unknown-client-what",
    ErrorUnknownClientDo = "error-unknown-client-do",
    ErrorInvalidRequest = "error-invalid-request",
    ErrorInvalidRequestWhat = "error-invalid-request-what",
    ErrorInvalidRequestDo = "error-invalid-request-do",
    ErrorExpired = "error-expired",
    ErrorExpiredWhat = "error-expired-what",
    ErrorExpiredDo = "error-expired-do",
    ErrorCookies = "error-cookies",
    ErrorCookiesWhat = "error-cookies-what",
    ErrorCookiesDo = "error-cookies-do",
    ErrorAccessDenied = "error-access-denied",
    ErrorAccessDeniedWhat = "error-access-denied-what",
    ErrorAccessDeniedDo = "error-access-denied-do",
    ErrorNotFound = "error-not-found",
    ErrorNotFoundWhat = "error-not-found-what",
    ErrorNotFoundDo = "error-not-found-do",
    ErrorTooMany = "error-too-many",
    ErrorTooManyWhat = "error-too-many-what",
    ErrorUnavailable = "error-unavailable",
    ErrorUnavailableWhat = "error-unavailable-what",
    ErrorUnavailableDo = "error-unavailable-do",
    ErrorInternal = "error-internal",
    ErrorInternalWhat = "error-internal-what",
    ErrorInternalDo = "error-internal-do",
    ErrorId = "error-id",
    ErrorDetails = "error-details",
    BackToApplication = "back-to-application",
    StartAgain = "start-again",
    TryAgain = "try-again",
}

/// Stands for the value while a message is resolved; a private-use character that no Fluent file contains.
const VALUE: char = '\u{e000}';
/// The names a value may have in the Fluent files, for translators; a message has at most one value.
const VALUE_NAMES: [&str; 5] = ["application", "account", "realm", "scope", "time"];

/// The messages of one language.
pub(super) struct Catalogue {
    /// By [`Message`] as index: the literals around the value, so one literal when there is no value.
    texts: Vec<Box<[String]>>,
    bundle: FluentBundle<FluentResource>,
}

impl Catalogue {
    /// The messages of a language, resolved on the first call. What it lacks is said in English.
    pub(super) fn of(locale: Locale) -> &'static Self {
        static ENGLISH: OnceLock<Catalogue> = OnceLock::new();
        static GERMAN: OnceLock<Catalogue> = OnceLock::new();
        static ARABIC: OnceLock<Catalogue> = OnceLock::new();
        let kept = match locale {
            Locale::English => &ENGLISH,
            Locale::German => &GERMAN,
            Locale::Arabic => &ARABIC,
        };
        kept.get_or_init(|| Self::resolve(locale))
    }

    fn resolve(locale: Locale) -> Self {
        let (bundle, english) = (bundle(locale), bundle(Locale::English));
        let mut args = FluentArgs::new();
        for name in VALUE_NAMES {
            args.set(name, VALUE.to_string());
        }
        let texts = Message::ALL
            .iter()
            .map(|message| {
                let text = format(&bundle, message.key(), &args)
                    .or_else(|| format(&english, message.key(), &args))
                    .unwrap_or_else(|| message.key().to_owned());
                text.split(VALUE).map(str::to_owned).collect()
            })
            .collect();
        Self { texts, bundle }
    }

    /// A message without a value.
    pub(super) fn text(&self, message: Message) -> &str {
        self.literals(message).first().map_or(message.key(), String::as_str)
    }

    /// A message with its value, as HTML: all escaped, the value set apart from the direction of the text around it.
    pub(super) fn with<'a>(&'a self, message: Message, value: &'a str) -> WithValue<'a> {
        WithValue {
            literals: Cow::Borrowed(self.literals(message)),
            value,
        }
    }

    /// A message with its value, as plain text for titles and attributes.
    pub(super) fn plain(&self, message: Message, value: &str) -> String {
        self.literals(message).join(value)
    }

    /// "5 minutes", rounded up.
    pub(super) fn minutes(&self, time: Duration) -> Cow<'static, str> {
        let minutes = time.as_secs().div_ceil(60).max(1);
        let mut args = FluentArgs::new();
        args.set("minutes", FluentValue::from(minutes));
        format(&self.bundle, Message::WaitMinutes.key(), &args).map_or(Cow::Borrowed("…"), Cow::Owned)
    }

    fn literals(&self, message: Message) -> &[String] {
        self.texts.get(message as usize).map(AsRef::as_ref).unwrap_or_default()
    }
}

/// A message with its value, as HTML.
pub(super) struct WithValue<'a> {
    literals: Cow<'a, [String]>,
    value: &'a str,
}

impl<'a> WithValue<'a> {
    /// Text that is not from the Fluent files, escaped and set apart like any value.
    pub(super) fn verbatim(value: &'a str) -> Self {
        Self {
            literals: Cow::Owned(vec![String::new(), String::new()]),
            value,
        }
    }
}

/// All parts are escaped while writing.
impl askama::filters::HtmlSafe for WithValue<'_> {}

impl fmt::Display for WithValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, literal) in self.literals.iter().enumerate() {
            if position > 0 {
                f.write_str("<bdi>")?;
                escape(f, self.value)?;
                f.write_str("</bdi>")?;
            }
            escape(f, literal)?;
        }
        Ok(())
    }
}

fn escape(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    text.chars().try_for_each(|character| match character {
        '&' => f.write_str("&amp;"),
        '<' => f.write_str("&lt;"),
        '>' => f.write_str("&gt;"),
        '"' => f.write_str("&quot;"),
        '\'' => f.write_str("&#39;"),
        other => f.write_char(other),
    })
}

fn bundle(locale: Locale) -> FluentBundle<FluentResource> {
    let language = locale
        .tag()
        .parse::<unic_langid::LanguageIdentifier>()
        .unwrap_or_default();
    let mut bundle = FluentBundle::new_concurrent(vec![language]);
    // Values are set apart by markup, and attributes must not hold invisible characters.
    bundle.set_use_isolating(false);
    let (Ok(resource) | Err((resource, _))) = FluentResource::try_new(source(locale).to_owned());
    bundle.add_resource_overriding(resource);
    bundle
}

const fn source(locale: Locale) -> &'static str {
    match locale {
        Locale::English => include_str!("../../locales/en.ftl"),
        Locale::German => include_str!("../../locales/de.ftl"),
        Locale::Arabic => include_str!("../../locales/ar.ftl"),
    }
}

fn format(bundle: &FluentBundle<FluentResource>, key: &str, args: &FluentArgs<'_>) -> Option<String> {
    let pattern = bundle.get_message(key)?.value()?;
    Some(bundle.format_pattern(pattern, Some(args), &mut Vec::new()).into_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    /// The keys of a language with the names of their values, read from the text of its file.
    fn keys(locale: Locale) -> BTreeMap<String, BTreeSet<String>> {
        let mut keys = BTreeMap::<_, BTreeSet<String>>::new();
        let mut current = String::new();
        for line in source(locale)
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
        {
            if !line.starts_with([' ', '}']) {
                current = line.split_once(" =").expect("a key").0.to_owned();
                assert!(
                    keys.insert(current.clone(), BTreeSet::new()).is_none(),
                    "{locale}: {current} twice"
                );
            }
            for part in line.split('$').skip(1) {
                let name = part.chars().take_while(char::is_ascii_alphanumeric).collect();
                keys.get_mut(&current).expect("a current key").insert(name);
            }
        }
        keys
    }

    #[test]
    fn every_language_has_every_message_with_the_same_values() {
        let expected: BTreeSet<String> = Message::ALL.iter().map(|message| message.key().to_owned()).collect();
        let english = keys(Locale::English);
        assert_eq!(english.keys().cloned().collect::<BTreeSet<_>>(), expected);
        for locale in Locale::ALL {
            assert!(
                FluentResource::try_new(source(locale).to_owned()).is_ok(),
                "{locale} does not parse"
            );
            assert_eq!(keys(locale), english, "{locale}");
        }
        for (key, names) in english {
            assert!(names.len() <= 1, "{key} has more than one value");
            assert!(
                names
                    .iter()
                    .all(|name| name == "minutes" || VALUE_NAMES.contains(&name.as_str())),
                "{key}"
            );
        }
    }

    #[test]
    fn messages_resolve_to_text_in_every_language() {
        for locale in Locale::ALL {
            let catalogue = Catalogue::of(locale);
            for message in Message::ALL.iter().filter(|message| **message != Message::WaitMinutes) {
                let text = catalogue.plain(*message, "Ada");
                assert!(
                    !text.is_empty() && !text.contains(['{', '}', '$', VALUE, '\u{2068}']),
                    "{locale}: {text}"
                );
                assert_ne!(text, message.key(), "{locale}");
            }
        }
    }

    #[test]
    fn waiting_times_have_the_plural_of_the_language() {
        let minutes = |locale, seconds| Catalogue::of(locale).minutes(Duration::from_secs(seconds)).into_owned();
        assert_eq!(minutes(Locale::English, 0), "1 minute");
        assert_eq!(minutes(Locale::English, 61), "2 minutes");
        assert_eq!(minutes(Locale::German, 300), "5 Minuten");
        assert_eq!(minutes(Locale::Arabic, 120), "دقيقتين");
        assert_eq!(minutes(Locale::Arabic, 300), "5 دقائق");
        assert_eq!(minutes(Locale::Arabic, 11 * 60), "11 دقيقة");
    }

    #[test]
    fn values_are_escaped_and_set_apart() {
        let catalogue = Catalogue::of(Locale::English);
        let html = catalogue.with(Message::ContinueTo, "\"><script>'&").to_string();
        assert_eq!(html, "to continue to <bdi>&quot;&gt;&lt;script&gt;&#39;&amp;</bdi>");
        assert_eq!(
            catalogue.plain(Message::ContinueTo, "Grafana"),
            "to continue to Grafana"
        );
    }
}
