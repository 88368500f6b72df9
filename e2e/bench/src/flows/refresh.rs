//! Refresh on PostgreSQL beside pgbench with the very same statement.
//!
//! The statement is not repeated here: it is taken from the database's log of one real refresh, with the values that the
//! server sent. So pgbench does the server's work without the server: 32 connections, the statement prepared, each on a
//! family of its own whose sequence goes up by one a transaction. Both are counted by the clock, because the database
//! decides; pgbench runs on the server's core, the database on its own in both cases.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::CONNECTIONS;
use super::pair::{Judge, Rounds, per_unit};
use super::world::{HOST, World, psql};
use crate::load::{Pace, Source, Sources, once};
use crate::pinned::Pinned;
use crate::report::{Flow, Progress, Unit, median, rounded};
use crate::settings::Settings;
use crate::sources::Refresh;

/// The name of the flow.
pub(crate) const NAME: &str = "refresh_postgres";

/// The client that refreshes.
const CLIENT: &str = "app";
/// The client whose families pgbench moves.
const PGBENCH_CLIENT: &str = "pgbench";
/// The longest that pgbench is given to finish a transaction.
const LONGEST_SECONDS: f64 = 16.0;
/// How long PostgreSQL may take to log a statement after it was told to.
const PATIENCE: Duration = Duration::from_secs(10);

/// Measures both.
pub(crate) fn measure(settings: &Settings, world: &World, progress: &mut Progress) -> Result<Flow> {
    progress.step("signing people in for refresh", Duration::from_secs(5));
    let mut ours = sources(world)?;
    // These families are pgbench's from now on, but for one that is refreshed to see how.
    let mut theirs = world.refresh_tokens(PGBENCH_CLIENT, CONNECTIONS + 1)?;
    let logged = log_of_one_refresh(world, theirs.pop().context("no refresh token")?)?;
    let script = world.file("refresh.pgbench");
    std::fs::write(&script, logged.script())?;
    psql(&world.database_url, "VACUUM ANALYZE")?;
    let judge = Judge { settings, world };
    let (mut rounds, mut units, statements) = (Rounds::default(), 0, world.server.statements()?);
    let mut fastest = Vec::new();
    for round in 1..=settings.rounds {
        progress.step(&format!("{NAME}, round {round}"), settings.round() * 2);
        let outcome = judge.press(Pace::Closed, &mut ours)?;
        units += outcome.total;
        fastest.push(outcome.per_second());
        rounds.add(outcome.per_second(), pgbench(settings, world, &logged, round)?);
    }
    let statements = per_unit(world.server.statements()? - statements, units);
    let rate = 0.7 * median(&fastest);
    progress.step(&format!("{NAME}, latency"), settings.round() * 3);
    let (p50_ms, p99_ms) = judge.latency(rate, &mut ours)?;
    Ok(Flow {
        open_rate: rounded(rate),
        p50_ms: rounded(p50_ms),
        p99_ms: rounded(p99_ms),
        statements: rounded(statements),
        ..rounds.flow(Unit::WallSecond, "pgbench: the same statement, 32 connections")
    })
}

/// A chain of refresh tokens on each connection.
pub(crate) fn sources(world: &World) -> Result<Sources> {
    let tokens = world.refresh_tokens(CLIENT, CONNECTIONS)?;
    let one = |token| Box::new(Refresh::new(HOST, CLIENT, token)) as Box<dyn Source>;
    Ok(tokens.into_iter().map(one).collect())
}

/// A statement as a server sent it, and the values it came with, by number.
#[derive(Debug, PartialEq, Eq)]
struct Logged {
    statement: String,
    values: BTreeMap<usize, String>,
}

/// Refreshes once while the database logs everything.
fn log_of_one_refresh(world: &World, token: String) -> Result<Logged> {
    let mut chain = Refresh::new(HOST, PGBENCH_CLIENT, token);
    let url = world.postgres.url();
    psql(url, "ALTER SYSTEM SET log_statement = 'all'")?;
    psql(url, "SELECT pg_reload_conf()")?;
    let deadline = Instant::now() + PATIENCE;
    let logged = loop {
        once(world.server.address(), &mut chain)?;
        let log = std::fs::read_to_string(world.postgres.log()).context("the database's log")?;
        if let Some(logged) = Logged::last_in(&log, "update refresh_family") {
            break logged;
        }
        ensure!(Instant::now() < deadline, "no refresh in the database's log");
        std::thread::sleep(Duration::from_millis(20));
    };
    psql(url, "ALTER SYSTEM RESET log_statement")?;
    psql(url, "SELECT pg_reload_conf()")?;
    Ok(logged)
}

impl Logged {
    /// The newest statement in a log that contains `words`. Its further lines are indented by a tab; its values follow
    /// as a detail.
    fn last_in(log: &str, words: &str) -> Option<Self> {
        let mut newest = None;
        let mut lines = log.lines().peekable();
        while let Some(line) = lines.next() {
            let Some((_, executed)) = line.split_once("LOG:  execute ") else {
                continue;
            };
            let (_, first) = executed.split_once(": ")?;
            let mut statement = first.to_owned();
            while let Some(further) = lines.next_if(|line| line.starts_with('\t')) {
                statement.push('\n');
                statement.push_str(further);
            }
            let detail = lines.peek().and_then(|line| line.split_once("arameters: "));
            if let (true, Some((_, detail))) = (statement.contains(words), detail) {
                newest = Some(Self {
                    statement,
                    values: values(detail),
                });
            }
        }
        newest
    }

    /// A script for pgbench: family and sequence are read once a connection, then the statement runs with them.
    fn script(&self) -> String {
        let (client, family, sequence) = (3, 2, 4);
        let mut statement = String::with_capacity(self.statement.len() * 2);
        let types = self.types();
        let mut rest = self.statement.as_str();
        while let Some((before, after)) = rest.split_once('$') {
            let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (number, then) = after.split_at(digits);
            statement.push_str(before);
            statement.extend([":p", number]);
            // pgbench makes a parameter of each place, so each needs the type that the server named at one of them.
            if let (false, Some(of)) = (
                then.starts_with("::"),
                number.parse().ok().and_then(|number: usize| types.get(&number)),
            ) {
                statement.extend(["::", of.as_str()]);
            }
            rest = then;
        }
        statement.push_str(rest);
        format!(
            "\\if :ready\n\\else\nselect id as p{family}, seq as p{sequence} from refresh_family where client_id = :p{client} \
             and revoked_at is null order by id limit 1 offset :client_id \\gset\n\\set ready 1\n\\endif\n{statement};\n\
             \\set p{sequence} :p{sequence} + 1\n"
        )
    }

    /// The type that each value is cast to somewhere.
    fn types(&self) -> BTreeMap<usize, String> {
        let mut types = BTreeMap::new();
        for place in self.statement.split('$').skip(1) {
            let digits = place.len() - place.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (number, then) = place.split_at(digits);
            let Some(cast) = then.strip_prefix("::") else { continue };
            let of: String = cast
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                .collect();
            if let Ok(number) = number.parse() {
                types.insert(number, of);
            }
        }
        types
    }

    /// The values that stay the same, as definitions for pgbench.
    fn definitions(&self) -> Vec<String> {
        let fixed = self.values.iter().filter(|(number, _)| ![2, 4].contains(*number));
        let mut definitions = vec!["-Dready=0".to_owned()];
        definitions.extend(fixed.map(|(number, value)| format!("-Dp{number}={value}")));
        definitions
    }
}

/// The values of a detail line: `$1 = 'a', $2 = NULL`. None of ours holds a quote.
fn values(detail: &str) -> BTreeMap<usize, String> {
    let pairs = detail.split(", $").filter_map(|pair| pair.split_once(" = "));
    pairs
        .filter_map(|(number, value)| {
            let number = number.trim_start_matches('$').parse().ok()?;
            Some((number, value.trim_matches('\'').to_owned()))
        })
        .collect()
}

/// Transactions a second, every one of which moved its family by one.
fn pgbench(settings: &Settings, world: &World, logged: &Logged, round: usize) -> Result<f64> {
    let moved = "select coalesce(sum(seq), 0) from refresh_family where client_id = 'pgbench' and revoked_at is null";
    let sum = || -> Result<f64> { psql(&world.database_url, moved)?.parse().context("a sum of sequences") };
    let mut seconds = settings.seconds.ceil().max(1.0);
    loop {
        let before = sum()?;
        let log = world.file(&format!("pgbench.{round}.{seconds}.log"));
        let output = run_pgbench(world, logged, seconds, &log)?;
        let number = |start: &str| {
            let line = output.lines().find_map(|line| line.strip_prefix(start))?;
            line.split([' ', '/']).next()?.parse::<f64>().ok()
        };
        let transactions = number("number of transactions actually processed: ").with_context(|| output.clone())?;
        // On a busy machine the time may be over before the first transaction is.
        if transactions < 1.0 && seconds < LONGEST_SECONDS {
            seconds *= 2.0;
            continue;
        }
        let rate = number("tps = ").with_context(|| output.clone())?;
        let moved = sum()? - before;
        ensure!(
            (transactions - moved).abs() < 1.0,
            "pgbench moved families by {moved} in {transactions} transactions:\n{output}"
        );
        return Ok(rate);
    }
}

/// What it printed.
fn run_pgbench(world: &World, logged: &Logged, seconds: f64, log: &Path) -> Result<String> {
    let mut arguments = vec![
        "--no-vacuum".to_owned(),
        "--protocol=prepared".to_owned(),
        format!("--client={CONNECTIONS}"),
        "--jobs=1".to_owned(),
        format!("--time={seconds}"),
        format!("--file={}", world.file("refresh.pgbench").display()),
    ];
    arguments.extend(logged.definitions());
    arguments.push(world.database_url.clone());
    let mut program = Pinned::start("pgbench", Path::new("pgbench"), arguments, &world.cpus.server, log)?;
    program
        .process()
        .wait(Duration::from_secs_f64(seconds) + Duration::from_secs(30))?;
    Ok(program.process().output())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "2026-11-29 09:00:00 UTC [7] LOG:  execute s1: select 1\n\
        2026-11-29 09:00:00 UTC [7] LOG:  execute s2: update refresh_family set\n\
        \t    seq = case when $4::bigint < seq then seq else $4 + 1 end where id = $2::uuid and client_id = $3::text\n\
        2026-11-29 09:00:00 UTC [7] DETAIL:  parameters: $1 = 'r', $2 = 'f', $3 = 'app', $4 = '7'\n\
        2026-11-29 09:00:01 UTC [8] LOG:  execute s1: select 2\n";

    #[test]
    fn a_statement_is_found_with_its_values() {
        let logged = Logged::last_in(LOG, "update refresh_family").unwrap();
        assert!(logged.statement.starts_with("update") && logged.statement.ends_with("$3::text"));
        assert_eq!(logged.definitions(), ["-Dready=0", "-Dp1=r", "-Dp3=app"]);
        assert_eq!(Logged::last_in(LOG, "delete"), None);
    }

    #[test]
    fn every_place_of_a_value_has_its_type() {
        let script = Logged::last_in(LOG, "update refresh_family").unwrap().script();
        assert!(
            script.contains(":p4::bigint < seq then seq else :p4::bigint + 1 end"),
            "{script}"
        );
        assert!(script.ends_with(";\n\\set p4 :p4 + 1\n"), "{script}");
    }
}
