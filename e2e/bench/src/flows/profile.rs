//! Where the server's time goes in each flow: `perf` samples its stacks while it is pressed. Of them come a flame graph
//! (drawn by inferno) and the share of each area, by the innermost frame that belongs to one.

mod area;
mod stacks;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use self::area::Area;
use super::pair::Judge;
use super::world::World;
use super::{FLOWS, refresh};
use crate::growth::number;
use crate::load::{Pace, Sources};
use crate::report::{Progress, Report, rounded};
use crate::settings::Settings;

/// Samples a second of CPU time: an odd number, so that nothing periodic is met each time.
const FREQUENCY: &str = "499";
/// Bytes of stack that are kept of each sample to be unwound.
const STACK: &str = "dwarf,16384";
/// Reading the samples of one flow.
const READING: Duration = Duration::from_secs(20);

/// Prepares who presses a flow.
type Prepare = Box<dyn Fn(&World) -> Result<Sources>>;

/// Samples every flow that is asked for. Graphs go to the folder `flames` of the report, shares into the report.
pub fn run(settings: &Settings) -> Result<()> {
    let mut report = Report::load(&settings.out)?;
    let folder = settings.out.join("flames");
    std::fs::create_dir_all(&folder)?;
    let each = settings.round() * 2 + READING;
    let contests = FLOWS.iter().map(|(name, make)| {
        let sources: Prepare = Box::new(|world| Ok(make(world)?.ours));
        (*name, sources)
    });
    let refresh: Prepare = Box::new(refresh::sources);
    let flows: Vec<_> = contests
        .chain([(refresh::NAME, refresh)])
        .filter(|(name, _)| settings.wants(name))
        .collect();
    let mut progress = Progress::new(each * u32::try_from(flows.len())?);
    let world = World::start()?;
    for (name, prepare) in flows {
        let mut sources = prepare(&world)?;
        progress.step(name, each);
        let shares = profile(settings, &world, &mut sources, &folder.join(name)).context(name)?;
        report.profile.insert(name.to_owned(), shares);
    }
    report.save(&settings.out)
}

/// Presses and samples; percent of the samples by area.
fn profile(settings: &Settings, world: &World, sources: &mut Sources, stem: &Path) -> Result<BTreeMap<String, f64>> {
    let judge = Judge { settings, world };
    judge.press(Pace::Closed, sources)?;
    let data = world.file("perf.data");
    let sampler = Sampler::start(world, &data)?;
    judge.press(Pace::Closed, sources)?;
    sampler.stop()?;
    let output = Command::new("perf")
        .args(["script", "--no-inline", "--fields", "ip,sym,dso", "--input"])
        .arg(&data)
        .stderr(Stdio::null())
        .output()
        .context("perf script")?;
    ensure!(output.status.success(), "perf script failed");
    let stacks = stacks::parse(&String::from_utf8_lossy(&output.stdout));
    ensure!(!stacks.is_empty(), "perf took no samples");
    let folded = stem.with_extension("folded");
    std::fs::write(&folded, stacks::folded(&stacks))?;
    draw(&folded, &stem.with_extension("svg"))?;
    let mut counts: BTreeMap<Area, u64> = BTreeMap::new();
    for stack in &stacks {
        *counts.entry(Area::of(stack)).or_default() += 1;
    }
    let share = |count: u64| rounded(number(count) / number(stacks.len() as u64) * 100.0);
    let shares = counts
        .into_iter()
        .map(|(area, count)| (area.name().to_owned(), share(count)));
    Ok(shares.collect())
}

/// A running `perf record`.
struct Sampler(Child);

impl Sampler {
    fn start(world: &World, data: &Path) -> Result<Self> {
        let mut command = Command::new("perf");
        command
            .args(["record", "--quiet", "--event", "cpu-clock", "--freq", FREQUENCY])
            .args(["--call-graph", STACK, "--output"])
            .arg(data)
            .args(["--pid", &world.server.program().id().to_string()])
            .stdout(Stdio::null())
            .stderr(File::create(world.file("perf.log"))?);
        Ok(Self(command.spawn().context("perf (Debian: linux-perf)")?))
    }

    fn stop(mut self) -> Result<()> {
        let id = Pid::from_raw(i32::try_from(self.0.id())?).context("process 0")?;
        kill_process(id, Signal::INT)?;
        self.0.wait()?;
        Ok(())
    }
}

fn draw(folded: &Path, graph: &Path) -> Result<()> {
    let program = std::env::var_os("NAUTHERA_FLAMEGRAPH").unwrap_or_else(|| "inferno-flamegraph".into());
    let status = Command::new(program)
        .args(["--title", &folded.file_stem().unwrap_or_default().to_string_lossy()])
        .arg(folded)
        .stdout(File::create(graph)?)
        .status()
        .context("inferno-flamegraph (cargo install inferno)")?;
    ensure!(status.success(), "inferno-flamegraph failed");
    Ok(())
}
