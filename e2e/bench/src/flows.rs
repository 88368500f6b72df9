//! Each flow of the server beside its ceiling, in rounds that take turns; and what the server needs of memory meanwhile.

mod login;
mod pair;
mod profile;
mod refresh;
mod world;

use std::time::Duration;

use anyhow::{Context as _, Result};
use oidc::endpoint;

pub use self::login::hash_for;
use self::pair::{Contest, Judge};
pub use self::profile::run as profile;
use self::world::{HOST, World};
use crate::ceiling::{CLIENT, TokenShape, session_cookie};
use crate::load::{Source, Sources};
use crate::machine;
use crate::report::{Progress, Report};
use crate::server;
use crate::settings::Settings;
use crate::sources::{CodeFlow, Cookies, Repeat, basic, get, member, post};

/// Connections of every flow that is not about passwords.
pub const CONNECTIONS: usize = 32;

/// Measures every flow that is asked for and writes the report.
pub fn run(settings: &Settings) -> Result<()> {
    let mut report = Report::load(&settings.out)?;
    report.machine = machine::facts();
    let mut progress = Progress::new(planned(settings));
    progress.step("starting a database and the server", Duration::from_secs(10));
    let world = World::start()?;
    report
        .machine
        .insert("server_core".to_owned(), world.cpus.server.list());
    report
        .machine
        .insert("client_core".to_owned(), world.cpus.client.list());
    report
        .machine
        .insert("database_core".to_owned(), world.cpus.database.list());
    report.server.insert("pool".to_owned(), f64::from(world::POOL));
    let workers = u32::try_from(crate::pinned::threads_named(world.server.program().id(), "hash-")?)?;
    report.server.insert("hash_workers".to_owned(), f64::from(workers));
    report.start_ms = Some(world.server.started().as_secs_f64() * 1000.0);
    remember_memory(&mut report, &world, "idle")?;

    for (name, make) in FLOWS {
        if !settings.wants(name) {
            continue;
        }
        let contest = make(&world).with_context(|| format!("preparing {name}"))?;
        let judge = Judge {
            settings,
            world: &world,
        };
        let flow = judge
            .measure(name, contest, &mut progress)
            .with_context(|| (*name).to_owned())?;
        report.flows.insert((*name).to_owned(), flow);
        report.save(&settings.out)?;
    }
    if settings.wants(refresh::NAME) {
        let flow = refresh::measure(settings, &world, &mut progress).context(refresh::NAME)?;
        report.flows.insert(refresh::NAME.to_owned(), flow);
        report.save(&settings.out)?;
    }
    remember_memory(&mut report, &world, "load")?;
    if settings.wants(login::NAME) {
        login::measure(settings, &world, &mut report, &mut progress).context(login::NAME)?;
        remember_memory(&mut report, &world, "load_hashing")?;
    }
    if let Some(load) = machine::load() {
        report.machine.insert("load_at_the_end".to_owned(), load);
    }
    report.save(&settings.out)
}

fn remember_memory(report: &mut Report, world: &World, when: &str) -> Result<()> {
    let memory = world.server.program().memory()?;
    report.memory.insert(format!("{when}_rss"), memory.resident);
    report.memory.insert(format!("{when}_rss_anon"), memory.anonymous);
    report.memory.insert(format!("{when}_rss_file"), memory.mapped);
    Ok(())
}

/// About how long everything that is asked for takes.
fn planned(settings: &Settings) -> Duration {
    let names = FLOWS.iter().map(|(name, _)| *name).chain([refresh::NAME, login::NAME]);
    let flows = names.filter(|name| settings.wants(name)).count();
    Duration::from_secs(10) + settings.contest() * u32::try_from(flows).unwrap_or(u32::MAX)
}

type Make = fn(&World) -> Result<Contest>;

/// The flows beside a ceiling that speaks HTTP, in the order of the report's story.
const FLOWS: &[(&str, Make)] = &[
    ("client_credentials_es256", |_| {
        Ok(client_credentials("cc-es256", TokenShape::Es256))
    }),
    ("client_credentials_eddsa", |_| {
        Ok(client_credentials("cc-eddsa", TokenShape::Eddsa))
    }),
    ("client_credentials_rs256", |_| {
        Ok(client_credentials("cc-rs256", TokenShape::Rs256))
    }),
    ("client_credentials_opaque", |_| {
        Ok(client_credentials("cc-opaque", TokenShape::Opaque))
    }),
    ("jwks", |world| document(world, endpoint::JWKS, "\"keys\"")),
    ("discovery", |world| {
        document(world, endpoint::OPENID_CONFIGURATION, "\"issuer\"")
    }),
    ("userinfo", userinfo),
    ("introspection_jwt", introspection),
    ("code_pkce_session", code),
];

fn client_credentials(client_id: &str, shape: TokenShape) -> Contest {
    let form = [("grant_type", "client_credentials"), ("scope", "orders:read")];
    let request = move |path, client| post(HOST, path, &[("authorization", &basic(client))], &form);
    let holds = "\"access_token\":\"";
    Contest {
        beside: "prototype: one signature",
        shape,
        static_bytes: 1,
        ours: Repeat::many(CONNECTIONS, &request(endpoint::TOKEN, client_id), holds),
        ceiling: Box::new(move |_| Ok(Repeat::many(CONNECTIONS, &request("/token", CLIENT), holds))),
    }
}

fn document(world: &World, path: &'static str, holds: &str) -> Result<Contest> {
    let (status, body) = server::get(world.server.address(), HOST, path)?;
    anyhow::ensure!(status == 200, "{path} answered {status}");
    Ok(Contest {
        beside: "hello: a static answer of the same size",
        shape: TokenShape::Es256,
        static_bytes: body.len(),
        ours: Repeat::many(CONNECTIONS, &get(HOST, path, &[]), holds),
        ceiling: Box::new(|_| Ok(Repeat::many(CONNECTIONS, &get(HOST, "/static", &[]), "xxx"))),
    })
}

fn userinfo(world: &World) -> Result<Contest> {
    let request = |path, token: &str| get(HOST, path, &[("authorization", &format!("Bearer {token}"))]);
    let ours = request(endpoint::USERINFO, &world.access_token("app")?);
    Ok(Contest {
        beside: "prototype: one verification",
        shape: TokenShape::Es256,
        static_bytes: 1,
        ours: Repeat::many(CONNECTIONS, &ours, "\"sub\":\""),
        ceiling: Box::new(move |address| {
            let token = prototype_token(address)?;
            Ok(Repeat::many(CONNECTIONS, &request("/userinfo", &token), "\"sub\":\""))
        }),
    })
}

fn introspection(world: &World) -> Result<Contest> {
    let request = |path, client, token: &str| {
        let authorization = basic(client);
        post(HOST, path, &[("authorization", &authorization)], &[("token", token)])
    };
    let ours = request(endpoint::INTROSPECT, "app", &world.access_token("app")?);
    let holds = "\"active\":true";
    Ok(Contest {
        beside: "prototype: one verification",
        shape: TokenShape::Es256,
        static_bytes: 1,
        ours: Repeat::many(CONNECTIONS, &ours, holds),
        ceiling: Box::new(move |address| {
            let token = prototype_token(address)?;
            Ok(Repeat::many(
                CONNECTIONS,
                &request("/introspect", CLIENT, &token),
                holds,
            ))
        }),
    })
}

fn code(world: &World) -> Result<Contest> {
    let mut ours: Sources = Vec::new();
    for cookies in world.sessions(CONNECTIONS)? {
        ours.push(Box::new(CodeFlow::new(HOST, "app", "openid profile", cookies)));
    }
    Ok(Contest {
        beside: "prototype: two signatures, two seals, no database",
        shape: TokenShape::Es256,
        static_bytes: 1,
        ours,
        ceiling: Box::new(|_| {
            let one = |_| {
                let cookies = Cookies::of(&session_cookie());
                let flow = CodeFlow::new(HOST, CLIENT, "openid profile", cookies);
                Box::new(flow.at("/authorize", "/token")) as Box<dyn Source>
            };
            Ok((0..CONNECTIONS).map(one).collect())
        }),
    })
}

/// An access token of the prototype.
fn prototype_token(address: std::net::SocketAddr) -> Result<String> {
    let form = [("grant_type", "client_credentials"), ("scope", "openid profile")];
    let request = post(HOST, "/token", &[("authorization", &basic(CLIENT))], &form);
    let body = world::body(address, request)?;
    Ok(member(&body, "access_token")
        .context("no token from the prototype")?
        .to_owned())
}
