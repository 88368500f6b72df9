//! Browser sessions: signed cookies, accepted without asking the store.
//!
//! Three cookies per realm. The session itself is a JWT that only authentication writes, so that a slow older answer cannot
//! undo a newer sign-in. A second, sealed one holds the last activity. The third holds a random value that ties
//! forms to the browser they were rendered for; all tabs share it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::code::Authentication;
use crate::config::Realm;
use crate::context::{Context, Randomness};
use crate::front_channel::{CookieAge, Cookies, DuplicateCookie, FrontChannel, RefusalKind, SetCookie};
use crate::id::{FlowId, PersonId, SessionId};
use crate::keys::SignError;
use crate::revocation::{Revocation, Revoked};
use crate::seal::{Purpose, SealError};

/// How often at most the last activity is written.
const ACTIVITY_INTERVAL: Duration = Duration::from_mins(1);
/// How long a browser keeps its binding after the last form.
const BINDING_AGE: Duration = Duration::from_hours(24);
/// Random bytes of a binding.
const BINDING_BYTES: usize = 32;
/// Added to whatever a revoked session leaves behind, for clocks that differ.
const REVOCATION_MARGIN: Duration = Duration::from_mins(1);

/// A live browser session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// `sid`.
    pub id: SessionId,
    /// Who is signed in.
    pub person: PersonId,
    /// The person's epoch at that time.
    pub epoch: i32,
    /// The sign-in that it was last written by.
    pub flow: FlowId,
    /// How and when the person authenticated.
    pub authentication: Authentication,
    /// Its end, whatever its use.
    pub expires_at: Timestamp,
    /// When the browser last used it, as far as its cookie says.
    pub(crate) last_active: Timestamp,
}

/// What a browser presents.
#[derive(Clone, Debug)]
pub(crate) struct Presented {
    /// The live session.
    pub(crate) session: Option<Session>,
    /// The browser's binding.
    pub(crate) binding: Option<Binding>,
}

/// The random value that ties forms to a browser.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Binding(String);

/// The claims of the session cookie.
#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    sid: SessionId,
    sub: PersonId,
    auth_time: i64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    amr: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    acr: Option<String>,
    epoch: i32,
    flow: FlowId,
    exp: i64,
}

#[derive(Serialize, Deserialize)]
struct Activity {
    #[serde(rename = "s")]
    session: SessionId,
    #[serde(rename = "t")]
    at: Timestamp,
}

impl Presented {
    /// Reads a browser's cookies. Fails with the answer to give: two cookies of one name are refused and cleared, and
    /// a session is not accepted while too little is known about revocations.
    pub(crate) fn read(ctx: &Context<'_>, cookies: &Cookies) -> Result<Self, FrontChannel> {
        let names = Names::of(ctx.realm());
        let find = |name: &str| {
            cookies
                .find(name)
                .map_err(|DuplicateCookie| names.refuse_duplicates(ctx.realm()))
        };
        let (session, activity, binding) = (find(&names.session)?, find(&names.activity)?, find(&names.binding)?);
        let session = session.and_then(|token| Session::verify(ctx, token, activity));
        if session.is_some() && !ctx.knows_revocations() {
            return Err(FrontChannel::unavailable());
        }
        Ok(Self {
            session: session.filter(|session| !session.is_revoked(ctx)),
            binding: binding.and_then(Binding::parse),
        })
    }
}

impl Session {
    /// The session in the cookie `token`, unless it has ended by its own account.
    fn verify(ctx: &Context<'_>, token: &str, activity: Option<&str>) -> Option<Self> {
        let claims = ctx.keys().verify_session(token).ok()?;
        let claims: Claims = serde_json::from_slice(&claims).ok()?;
        let authenticated_at = Timestamp::from_unix_seconds(claims.auth_time);
        let last_active = activity
            .and_then(|sealed| ctx.keys().sealer().open::<Activity>(Purpose::Activity, sealed).ok())
            .filter(|activity| activity.session == claims.sid)
            .map_or(authenticated_at, |activity| activity.at.max(authenticated_at));
        let session = Self {
            id: claims.sid,
            person: claims.sub,
            epoch: claims.epoch,
            flow: claims.flow,
            authentication: Authentication {
                time: authenticated_at,
                methods: claims.amr,
                context: claims.acr,
            },
            expires_at: Timestamp::from_unix_seconds(claims.exp),
            last_active,
        };
        let lives = claims.iss == ctx.issuer()
            && ctx.now < session.expires_at
            && ctx.now.since(last_active) < ctx.realm().sessions.idle
            && !ctx.predates_realm(authenticated_at);
        lives.then_some(session)
    }

    fn is_revoked(&self, ctx: &Context<'_>) -> bool {
        ctx.revocations.any_revoked([
            Revoked::Session(self.id),
            Revoked::Person {
                person: self.person,
                epoch: self.epoch,
            },
        ])
    }

    /// How long ago the person authenticated; never negative.
    pub(crate) fn age(&self, now: Timestamp) -> Duration {
        now.since(self.authentication.time)
    }

    /// The cookies of a session that was just authenticated.
    pub(crate) fn begin(&self, ctx: &Context<'_>, rng: Randomness<'_>) -> Result<[SetCookie; 2], BeginError> {
        let claims = Claims {
            iss: ctx.issuer().to_owned(),
            sid: self.id,
            sub: self.person,
            auth_time: self.authentication.time.unix_seconds(),
            amr: self.authentication.methods.clone(),
            acr: self.authentication.context.clone(),
            epoch: self.epoch,
            flow: self.flow,
            exp: self.expires_at.unix_seconds(),
        };
        let claims = serde_json::to_vec(&claims).map_err(|_| SignError::Claims)?;
        let session = SetCookie {
            name: Names::of(ctx.realm()).session,
            value: ctx.keys().sign_session(&claims)?,
            age: CookieAge::For(self.expires_at.since(ctx.now)),
            secure: ctx.realm().issuer.is_https(),
        };
        Ok([session, self.activity(ctx, rng)?])
    }

    /// The cookie that says that the session was used, when the last one is old enough. A failure to seal changes nothing:
    /// the session is idle a little earlier.
    pub(crate) fn touch(&self, ctx: &Context<'_>, rng: Randomness<'_>) -> Option<SetCookie> {
        if ctx.now.since(self.last_active) < ACTIVITY_INTERVAL {
            return None;
        }
        self.activity(ctx, rng).ok()
    }

    fn activity(&self, ctx: &Context<'_>, rng: Randomness<'_>) -> Result<SetCookie, SealError> {
        let activity = Activity {
            session: self.id,
            at: ctx.now,
        };
        Ok(SetCookie {
            name: Names::of(ctx.realm()).activity,
            value: ctx.keys().sealer().seal(Purpose::Activity, &activity, rng)?,
            age: CookieAge::For(self.expires_at.since(ctx.now)),
            secure: ctx.realm().issuer.is_https(),
        })
    }

    /// What is recorded to end the session: it lives until neither its cookies nor an access token of it could be used.
    pub(crate) fn revocation(&self, ctx: &Context<'_>) -> Revocation {
        let clients = ctx.served.clients.all();
        let longest_access = clients
            .map(|client| client.tokens.lifetimes.access)
            .fold(ctx.realm().tokens.access, Duration::max);
        let remainder = ctx.realm().sessions.idle.max(longest_access);
        Revocation {
            what: Revoked::Session(self.id),
            expires_at: ctx.now.after(remainder).after(REVOCATION_MARGIN),
        }
    }
}

/// Why session cookies could not be made: the realm lacks an active sealing key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BeginError {
    #[error("the session cookie cannot be signed")]
    Sign(#[from] SignError),
    #[error("the activity cookie cannot be sealed")]
    Seal(#[from] SealError),
}

/// The cookies that remove a session from the browser.
pub(crate) fn removal(realm: &Realm) -> [SetCookie; 2] {
    let names = Names::of(realm);
    [names.session, names.activity].map(|name| remove(realm, name))
}

fn remove(realm: &Realm, name: String) -> SetCookie {
    SetCookie {
        name,
        value: String::new(),
        age: CookieAge::Removed,
        secure: realm.issuer.is_https(),
    }
}

impl Binding {
    fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0_u8; BINDING_BYTES];
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        (length == BINDING_BYTES).then(|| Self(text.to_owned()))
    }

    /// A new binding.
    pub(crate) fn generate(rng: Randomness<'_>) -> Self {
        let mut bytes = [0_u8; BINDING_BYTES];
        rng.fill_bytes(&mut bytes);
        Self(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// A digest of the binding for one use, which does not tell the binding.
    pub(crate) fn digest(&self, parts: &[&[u8]]) -> String {
        let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
        for part in parts {
            context.update(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            context.update(part);
        }
        context.update(self.0.as_bytes());
        URL_SAFE_NO_PAD.encode(context.finish())
    }

    /// The cookie that keeps it.
    pub(crate) fn cookie(&self, realm: &Realm) -> SetCookie {
        SetCookie {
            name: Names::of(realm).binding,
            value: self.0.clone(),
            age: CookieAge::For(BINDING_AGE),
            secure: realm.issuer.is_https(),
        }
    }
}

impl std::fmt::Debug for Binding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Binding")
    }
}

/// The names of a realm's cookies. Realms that share a host see each other's and ignore them.
struct Names {
    session: String,
    activity: String,
    binding: String,
}

impl Names {
    fn of(realm: &Realm) -> Self {
        let id = realm.id.0.simple().to_string();
        let id = id.get(..12).unwrap_or(&id);
        // Browsers take `__Host-` over https only, and ignore such a cookie otherwise.
        let prefix = if realm.issuer.is_https() { "__Host-" } else { "" };
        let name = |kind: &str| format!("{prefix}nauthera-{kind}-{id}");
        Self {
            session: name("session"),
            activity: name("activity"),
            binding: name("browser"),
        }
    }

    fn refuse_duplicates(&self, realm: &Realm) -> FrontChannel {
        let Self {
            session,
            activity,
            binding,
        } = self;
        FrontChannel::refused(
            RefusalKind::DuplicateCookies,
            "the browser sent two cookies of one name; they were removed",
        )
        .with_cookies([session, activity, binding].map(|name| remove(realm, name.clone())))
    }
}
