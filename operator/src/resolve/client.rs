//! One Client as the auth servers serve it.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use crds::client::{
    AuthMethod, ClientType, ConsentMode, EffectiveClient, GrantType, Jwk, JwkType, Pkce, RefreshRotation, SecretSource,
    TokenFormat,
};
use crds::conditions::{ConditionType, Reason};
use crds::text::ScopeName;
use oidc::config::{
    self, AccessTokenFormat, ClientAuthentication, ClientKeys, ClientTokens, ConsentRule, SecretHash, TokenRules,
};

use super::rotation::{Decision, hash};
use super::{Problem, admit, defaults, realm};
use crate::world::{ObjectKey, World};

/// What a client is compiled against.
pub(crate) struct Context<'a> {
    pub(crate) world: &'a World,
    /// The custom resource of its realm.
    pub(crate) realm: &'a crds::Realm,
    /// Name of that resource.
    pub(crate) realm_key: &'a ObjectKey,
    /// The realm as it is going to be served.
    pub(crate) compiled: &'a config::Realm,
    /// What was decided about its generated secrets; `None` when it has none.
    pub(crate) secrets: Option<&'a Result<Decision, Problem>>,
}

/// A client with what does not keep it from being served.
pub(crate) struct Compiled {
    pub(crate) client: config::Client,
    pub(crate) effective: EffectiveClient,
    /// References that are missing; the client is served without them.
    pub(crate) problems: Vec<Problem>,
}

/// The `client_id`: the one set, or `<namespace>.<name>`.
pub(crate) fn client_id(key: &ObjectKey, client: &crds::Client) -> String {
    let own = client.spec.client_id.as_ref().map(|id| id.as_str().to_owned());
    own.unwrap_or_else(|| format!("{}.{}", key.namespace, key.name))
}

/// Compiles a Client. Everything that is wrong is reported at once.
pub(crate) fn compile(key: &ObjectKey, client: &crds::Client, context: &Context<'_>) -> Result<Compiled, Vec<Problem>> {
    let spec = &client.spec;
    let mut problems = Vec::new();
    check_client_id(key, client, context, &mut problems);
    check_redirect_uris(key, spec, context, &mut problems);
    let logo = spec
        .logo
        .as_ref()
        .and_then(|image| realm::logo(image, "spec.logo", &mut problems));
    let authentication = authentication(key, client, context, &mut problems);
    let tokens = tokens(spec, context, &mut problems);
    let blocking = problems.len();
    let scopes = scopes(&spec.scopes.allowed, "spec.scopes.allowed", context, &mut problems);
    let default_scopes = spec.scopes.default.iter().map(|s| s.as_str().to_owned());
    let audiences = audiences(spec, context, &mut problems);
    let (Some(authentication), Some(tokens), 0) = (authentication, tokens, blocking) else {
        return Err(problems);
    };
    let text = |url: &crds::text::WebUrl| url.as_str().to_owned();
    let grants = spec.effective_grant_types();
    let client = config::Client {
        realm: context.compiled.id,
        client_id: client_id(key, client),
        name: key.to_string(),
        display_name: spec.display_name.clone().unwrap_or_else(|| key.name.clone()),
        logo,
        policy_uri: spec.policy_uri.as_ref().map(text),
        tos_uri: spec.tos_uri.as_ref().map(text),
        authentication,
        redirect_uris: spec.redirect_uris.iter().map(|uri| uri.as_str().to_owned()).collect(),
        post_logout_redirect_uris: spec
            .post_logout_redirect_uris
            .iter()
            .map(|u| u.as_str().to_owned())
            .collect(),
        allowed_origins: spec
            .allowed_origins
            .iter()
            .map(|origin| origin.as_str().to_owned())
            .collect(),
        grant_types: grants.iter().map(|grant| grant_type(*grant)).collect(),
        default_scopes: default_scopes.filter(|scope| scopes.contains(scope)).collect(),
        scopes: scopes.into(),
        audiences: audiences.into(),
        pkce_required: spec.pkce == Pkce::Required || spec.client_type == ClientType::Public,
        tokens: tokens.into(),
        consent: match spec.consent {
            ConsentMode::Ask => ConsentRule::Ask,
            ConsentMode::Remember => ConsentRule::Remember,
            ConsentMode::Skip => ConsentRule::Skip,
        },
    };
    let effective = effective(spec, &client);
    Ok(Compiled {
        client,
        effective,
        problems,
    })
}

fn effective(spec: &crds::ClientSpec, client: &config::Client) -> EffectiveClient {
    let seconds = |duration: Duration| crds::Duration::seconds(duration.as_secs());
    EffectiveClient {
        auth_method: spec.effective_auth_method(),
        grant_types: spec.effective_grant_types(),
        scopes: client
            .scopes
            .iter()
            .map(|scope| ScopeName::from(scope.as_str()))
            .collect(),
        access_token_lifetime: seconds(client.tokens.lifetimes.access),
        id_token_lifetime: seconds(client.tokens.lifetimes.id),
        refresh_token_lifetime: seconds(client.tokens.lifetimes.refresh),
        refresh_token_idle: seconds(client.tokens.lifetimes.refresh_idle),
    }
}

/// An id that begins with `<namespace>.` belongs to that namespace.
fn check_client_id(key: &ObjectKey, client: &crds::Client, context: &Context<'_>, problems: &mut Vec<Problem>) {
    let id = client_id(key, client);
    let owner = id.split_once('.').map(|(namespace, _)| namespace);
    let foreign = owner.filter(|owner| *owner != key.namespace && context.world.namespaces.contains_key(*owner));
    if let Some(owner) = foreign {
        let fix = format!(
            "begin it with {}. or with nothing that names a namespace",
            key.namespace
        );
        let message = format!("ids that begin with {owner}. belong to the namespace {owner}: {fix}");
        problems.push(Problem::not_admitted("spec.clientId", message));
    }
}

fn check_redirect_uris(key: &ObjectKey, spec: &crds::ClientSpec, context: &Context<'_>, problems: &mut Vec<Problem>) {
    let admit = &context.realm.spec.clients.admit;
    let foreign = key.namespace != context.realm_key.namespace;
    let lists = [
        ("spec.redirectUris", &spec.redirect_uris),
        ("spec.postLogoutRedirectUris", &spec.post_logout_redirect_uris),
    ];
    for (list, uris) in lists {
        for (index, uri) in uris.iter().enumerate() {
            let field = format!("{list}[{index}]");
            let Ok(host) = redirect_host(uri.as_str()) else {
                problems.push(Problem::invalid(field, "is not a URI that a browser can be sent to"));
                continue;
            };
            let host = host.as_deref().unwrap_or_default();
            if foreign && !admit::host_is_admitted(&admit.redirect_hosts, host) {
                let what = if host.is_empty() {
                    "URIs without a host".to_owned()
                } else {
                    format!("the host {host}")
                };
                let fix = format!(
                    "ask for it in spec.clients.admit.redirectHosts of Realm {}",
                    context.realm_key
                );
                problems.push(Problem::not_admitted(
                    field,
                    format!("the realm does not admit {what}: {fix}"),
                ));
            }
        }
    }
}

/// Not a URI that a browser can be sent to.
struct NotARedirect;

/// The host of a redirect URI (`localhost` for every loopback address); `None` for private-use schemes.
fn redirect_host(uri: &str) -> Result<Option<String>, NotARedirect> {
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'#' | b'\\' | b'"' | b'<' | b'>');
    if !uri.bytes().all(plain) {
        return Err(NotARedirect);
    }
    let url = url::Url::parse(uri).map_err(|_| NotARedirect)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(NotARedirect);
    }
    let host = match url.scheme() {
        "http" | "https" => match url.host_str().ok_or(NotARedirect)? {
            "127.0.0.1" | "[::1]" | "localhost" => Some("localhost".to_owned()),
            host => Some(host.to_owned()),
        },
        _ => None,
    };
    Ok(host)
}

fn authentication(
    key: &ObjectKey,
    client: &crds::Client,
    context: &Context<'_>,
    problems: &mut Vec<Problem>,
) -> Option<ClientAuthentication> {
    let spec = &client.spec;
    match spec.effective_auth_method() {
        AuthMethod::None => Some(ClientAuthentication::None),
        AuthMethod::ClientSecretBasic => secrets(key, client, context, problems).map(ClientAuthentication::SecretBasic),
        AuthMethod::ClientSecretPost => secrets(key, client, context, problems).map(ClientAuthentication::SecretPost),
        AuthMethod::PrivateKeyJwt => {
            let jwks = spec.auth.as_ref().and_then(|auth| auth.jwks.as_ref());
            let Some(jwks) = jwks.filter(|jwks| !jwks.keys.is_empty()) else {
                problems.push(Problem::invalid(
                    "spec.auth.jwks",
                    "PrivateKeyJwt needs the client's public keys",
                ));
                return None;
            };
            let before = problems.len();
            check_jwks(&jwks.keys, problems);
            let text = serde_json::to_string(jwks).ok()?;
            (problems.len() == before).then_some(ClientAuthentication::PrivateKeyJwt {
                jwks: ClientKeys::new(text).into(),
            })
        }
    }
}

fn secrets(
    key: &ObjectKey,
    client: &crds::Client,
    context: &Context<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Vec<SecretHash>> {
    let spec = &client.spec;
    match (spec.secret.source, &spec.secret.secret_ref) {
        (SecretSource::Generate, _) => {
            let decided = context.secrets?.as_ref();
            let accepted = decided.map(Decision::accepted).map_err(Clone::clone);
            match accepted {
                Ok(accepted) if accepted.is_empty() => {
                    let message = "the client secret is being generated";
                    problems.push(Problem::new(
                        ConditionType::CredentialsReady,
                        Reason::Progressing,
                        "",
                        message,
                    ));
                    None
                }
                Ok(accepted) => Some(accepted),
                Err(problem) => {
                    problems.push(problem);
                    None
                }
            }
        }
        (SecretSource::Ref, Some(reference)) => {
            let name = ObjectKey::new(&key.namespace, reference.name.as_str());
            let Some(secret) = context.world.secrets.get(&name) else {
                let message = format!("Secret {name} does not exist: create it");
                problems.push(Problem::missing("spec.secret.ref.name", message));
                return None;
            };
            match secret.data.get(reference.key.as_str()) {
                Some(value) if value.expose().len() >= defaults::SHORTEST_SECRET => Some(vec![hash(value.expose())]),
                Some(_) => {
                    let shortest = defaults::SHORTEST_SECRET;
                    let message = format!(
                        "the value in Secret {name} is shorter than {shortest} characters: `openssl rand -base64 32` makes a good one"
                    );
                    problems.push(Problem::unusable("spec.secret.ref.key", message));
                    None
                }
                None => {
                    let message = format!("Secret {name} has no key {}: add it", reference.key);
                    problems.push(Problem::unusable("spec.secret.ref.key", message));
                    None
                }
            }
        }
        (SecretSource::Ref, None) => {
            problems.push(Problem::invalid("spec.secret.ref", "source Ref needs ref"));
            None
        }
    }
}

fn check_jwks(keys: &[Jwk], problems: &mut Vec<Problem>) {
    let mut kids = BTreeSet::new();
    for (index, jwk) in keys.iter().enumerate() {
        let field = format!("spec.auth.jwks.keys[{index}]");
        if let Err(message) = check_jwk(jwk) {
            problems.push(Problem::invalid(field.clone(), message));
        }
        if keys.len() > 1 && !jwk.kid.as_ref().is_some_and(|kid| kids.insert(kid)) {
            problems.push(Problem::invalid(
                format!("{field}.kid"),
                "each of several keys needs a kid of its own",
            ));
        }
    }
}

/// Sizes and members of a public key (RFC 7518 §6, RFC 8037 §2).
fn check_jwk(jwk: &Jwk) -> Result<(), String> {
    let bytes = |name: &str, value: Option<&String>| {
        let value = value.ok_or_else(|| format!("{name} is missing"))?;
        BASE64URL.decode(value).map_err(|_| format!("{name} is not base64url"))
    };
    let exact = |name: &str, value: Option<&String>, length: usize| {
        let length_is = bytes(name, value)?.len();
        (length_is == length)
            .then_some(())
            .ok_or_else(|| format!("{name} must have {length} bytes, not {length_is}"))
    };
    match (jwk.kty, jwk.crv.as_deref()) {
        (JwkType::Rsa, _) => {
            let modulus = bytes("n", jwk.n.as_ref())?;
            bytes("e", jwk.e.as_ref())?;
            let bits = modulus.len() * 8;
            (2048..=8192)
                .contains(&bits)
                .then_some(())
                .ok_or_else(|| format!("an RSA key needs 2048 to 8192 bits, not {bits}"))
        }
        (JwkType::Ec, Some("P-256")) => {
            exact("x", jwk.x.as_ref(), 32)?;
            exact("y", jwk.y.as_ref(), 32)
        }
        (JwkType::Okp, Some("Ed25519")) => exact("x", jwk.x.as_ref(), 32),
        (JwkType::Ec, _) => Err("crv must be P-256".to_owned()),
        (JwkType::Okp, _) => Err("crv must be Ed25519".to_owned()),
    }
}

fn scopes(allowed: &[ScopeName], list: &str, context: &Context<'_>, problems: &mut Vec<Problem>) -> Vec<String> {
    let known = &context.compiled.scopes;
    let mut scopes = Vec::new();
    for (index, scope) in allowed.iter().enumerate() {
        if known.contains_key(scope.as_str()) {
            scopes.push(scope.as_str().to_owned());
        } else {
            let fix = "add it to spec.scopes there, or remove it here";
            let message = format!("Realm {} has no scope {scope}: {fix}", context.realm_key);
            problems.push(Problem::missing(format!("{list}[{index}]"), message));
        }
    }
    scopes
}

fn audiences(spec: &crds::ClientSpec, context: &Context<'_>, problems: &mut Vec<Problem>) -> Vec<String> {
    let mut audiences = Vec::new();
    for (index, audience) in spec.audiences.iter().enumerate() {
        if context
            .compiled
            .audiences
            .iter()
            .any(|known| known == audience.as_str())
        {
            audiences.push(audience.as_str().to_owned());
        } else {
            let fix = "add it to spec.resources there, or remove it here";
            let message = format!("Realm {} has no resource {audience}: {fix}", context.realm_key);
            problems.push(Problem::missing(format!("spec.audiences[{index}]"), message));
        }
    }
    audiences
}

fn tokens(spec: &crds::ClientSpec, context: &Context<'_>, problems: &mut Vec<Problem>) -> Option<ClientTokens> {
    let offered = &context.realm.spec.signing.algorithms;
    let Some(default) = offered.first() else {
        problems.push(Problem::unusable("spec.realmRef", "the realm has no signing algorithm"));
        return None;
    };
    let id_token = spec.tokens.id_token_alg.unwrap_or(*default);
    if !offered.contains(&id_token) {
        let names: Vec<&str> = offered.iter().map(|algorithm| algorithm.as_str()).collect();
        let message = format!("Realm {} signs with {} only", context.realm_key, names.join(", "));
        problems.push(Problem::invalid("spec.tokens.idTokenAlg", message));
        return None;
    }
    let most = context.compiled.tokens;
    let at_most = |own: Option<crds::Duration>, most: Duration| own.map_or(most, |own| most.min(own.into()));
    let refresh = at_most(spec.tokens.refresh_token_lifetime, most.refresh);
    Some(ClientTokens {
        format: match spec.tokens.format {
            TokenFormat::Jwt => AccessTokenFormat::Jwt,
            TokenFormat::Opaque => AccessTokenFormat::Opaque,
        },
        lifetimes: TokenRules {
            code: most.code,
            access: at_most(spec.tokens.access_token_lifetime, most.access),
            id: at_most(spec.tokens.id_token_lifetime, most.id),
            refresh,
            refresh_idle: at_most(spec.tokens.refresh_token_idle, most.refresh_idle).min(refresh),
            refresh_leeway: most.refresh_leeway,
        },
        id_token_algorithm: realm::algorithm(id_token),
        access_token_algorithm: realm::algorithm(*default),
        rotate_refresh: spec.tokens.refresh_rotation == RefreshRotation::Always
            || spec.client_type == ClientType::Public,
    })
}

fn grant_type(grant: GrantType) -> config::GrantType {
    match grant {
        GrantType::AuthorizationCode => config::GrantType::AuthorizationCode,
        GrantType::RefreshToken => config::GrantType::RefreshToken,
        GrantType::ClientCredentials => config::GrantType::ClientCredentials,
    }
}
