//! Password sign-in beside raw Argon2id, and what everybody else feels of it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use serde::{Deserialize, Serialize};

use super::pair::{Judge, Rounds, per_unit};
use super::world::{HOST, PASSWORD, PEOPLE, World, person};
use super::{CONNECTIONS, client_credentials};
use crate::ceiling::TokenShape;
use crate::load::{Load, Pace, Source, Sources, drive};
use crate::pinned::{Pinned, cpu_time};
use crate::report::{Flow, Progress, Report, Unit, median, rounded};
use crate::server::beside;
use crate::settings::Settings;
use crate::sources::SignIn;

/// The name of the flow.
pub(crate) const NAME: &str = "password_login";

/// The rate of the other requests that are watched while hashing is saturated, as a share of their maximum.
const OTHERS: f64 = 0.7;

/// What a raw run found.
#[derive(Debug, Serialize, Deserialize)]
pub struct Hashed {
    hashes: u32,
    cpu_seconds: f64,
    wall_seconds: f64,
}

/// Hashes for so long on the calling thread, with the parameters of the product and one arena that is used again.
pub fn hash_for(time: Duration) -> Result<Hashed> {
    let params = Params::new(19 * 1024, 2, 1, Some(32)).map_err(|error| anyhow::anyhow!("{error}"))?;
    let mut memory = vec![Block::default(); params.block_count()];
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let (began, process) = (Instant::now(), std::process::id());
    let (cpu, mut hashes) = (cpu_time(process)?, 0);
    let mut output = [0_u8; 32];
    while began.elapsed() < time {
        argon2
            .hash_password_into_with_memory(PASSWORD.as_bytes(), b"salt-of-16-bytes", &mut output, &mut memory)
            .map_err(|error| anyhow::anyhow!("{error}"))?;
        std::hint::black_box(&output);
        hashes += 1;
    }
    Ok(Hashed {
        hashes,
        cpu_seconds: cpu_time(process)?.saturating_sub(cpu).as_secs_f64(),
        wall_seconds: began.elapsed().as_secs_f64(),
    })
}

/// Measures both, and puts them into the report.
pub(crate) fn measure(settings: &Settings, world: &World, report: &mut Report, progress: &mut Progress) -> Result<()> {
    let judge = Judge { settings, world };
    let mut people = people();
    let (mut rounds, mut fastest, mut raw) = (Rounds::default(), Vec::new(), Vec::new());
    let (mut units, statements) = (0, world.server.statements()?);
    for round in 1..=settings.rounds {
        progress.step(&format!("{NAME}, round {round}"), settings.round() * 2);
        let ours = judge.press(Pace::Closed, &mut people)?;
        let hashed = hash_beside(settings, world)?;
        units += ours.total;
        fastest.push(ours.per_second());
        raw.push(f64::from(hashed.hashes) / hashed.wall_seconds);
        rounds.add(ours.per_cpu_second(), f64::from(hashed.hashes) / hashed.cpu_seconds);
    }
    let statements = per_unit(world.server.statements()? - statements, units);
    let rate = OTHERS * median(&fastest);
    progress.step(&format!("{NAME}, latency"), settings.round() * 3);
    let (p50_ms, p99_ms) = judge.latency(rate, &mut people)?;
    let flow = Flow {
        open_rate: rounded(rate),
        p50_ms: rounded(p50_ms),
        p99_ms: rounded(p99_ms),
        statements: rounded(statements),
        ..rounds.flow(Unit::CpuSecond, "raw Argon2id, memory used again")
    };
    report.flows.insert(NAME.to_owned(), flow);
    report
        .server
        .insert("logins_per_wall_second".to_owned(), rounded(median(&fastest)));
    report
        .server
        .insert("raw_hashes_per_wall_second".to_owned(), rounded(median(&raw)));
    watch_others(&judge, report, progress)
}

fn people() -> Sources {
    let one = |number| Box::new(SignIn::new(HOST, "app", &person(number), PASSWORD)) as Box<dyn Source>;
    (0..PEOPLE).map(one).collect()
}

/// Raw hashing on the server's core, in a process of its own.
fn hash_beside(settings: &Settings, world: &World) -> Result<Hashed> {
    let log = world.file("hash.json");
    std::fs::write(&log, "")?;
    let arguments = ["hash".to_owned(), settings.seconds.to_string()];
    let mut program = Pinned::start("hash", &beside("nauthera-bench")?, arguments, &world.cpus.server, &log)?;
    program.process().wait(Duration::from_mins(2))?;
    serde_json::from_str(&program.process().output()).with_context(|| program.process().output())
}

/// The p99 of token requests alone, and while as many people sign in as can.
fn watch_others(judge: &Judge<'_>, report: &mut Report, progress: &mut Progress) -> Result<()> {
    progress.step("token requests during a login storm", judge.settings.round() * 7);
    let mut others = client_credentials("cc-es256", TokenShape::Es256).ours;
    others.truncate(CONNECTIONS);
    let fastest = judge.press(Pace::Closed, &mut others)?.per_second();
    let rate = OTHERS * fastest;
    let (_, alone) = judge.latency(rate, &mut others)?;
    let storm = Duration::from_secs_f64(judge.settings.seconds) * 4;
    let address = judge.world.server.address();
    let busy = std::thread::scope(|scope| {
        let logins = scope.spawn(|| {
            let load = Load {
                address,
                pace: Pace::Closed,
                warm_up: Duration::ZERO,
                measure: storm,
                meter: &|| Ok(Duration::ZERO),
            };
            drive(&load, &mut people())
        });
        let busy = judge.latency(rate, &mut others);
        let logins = logins
            .join()
            .map_err(|_| anyhow::anyhow!("the login storm ended early"))?;
        Ok::<_, anyhow::Error>((busy?.1, logins?.per_second()))
    });
    let (busy, logins) = busy?;
    let numbers = [
        ("others_rate", rate),
        ("others_p99_ms_alone", alone),
        ("others_p99_ms_while_hashing", busy),
        ("others_p99_rise", busy / alone.max(f64::EPSILON)),
        ("logins_per_wall_second_beside_others", logins),
    ];
    for (name, value) in numbers {
        report.server.insert(name.to_owned(), rounded(value));
    }
    Ok(())
}
