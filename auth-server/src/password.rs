//! Password hashing off the request path.
//!
//! A bounded pool of threads at the lowest scheduling priority: hashing takes only the cores that nothing else wants,
//! one arena per worker is reused, and beyond the queue limit people are told to come back ([`Saturated`]) instead of
//! waiting. Comparing takes constant time; which parameters are today's is decided here and nowhere else.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use argon2::password_hash::phc::{Ident, Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use oidc::Secret;
use subtle::ConstantTimeEq;
use tokio::sync::oneshot;

use crate::background;

/// Today's parameters: 19 MiB, two passes, one lane (OWASP's first choice for Argon2id).
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const OUTPUT_BYTES: usize = 32;
/// How long a thread without work keeps the memory that it hashed in.
const ARENA_IDLE: Duration = Duration::from_secs(10);
/// Stored hashes may ask for at most this much, so that an imported row cannot exhaust a worker.
const MAX_MEMORY_KIB: u32 = 128 * 1024;
const MAX_PASSES: u32 = 10;
const MAX_LANES: u32 = 8;

/// A hash of nothing with today's parameters: what is verified for people who do not exist, so that they take as long.
pub const ABSENT_PERSON_HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bmF1dGhlcmEtYWJzZW50$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// More hashing is wanted than the queue takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("password hashing is saturated")]
pub struct Saturated;

/// What a verification found.
#[derive(Debug)]
pub struct Verdict {
    /// Whether the password is the one that was hashed.
    pub matched: bool,
    /// The password under today's parameters, when it matched and the stored hash is weaker.
    pub upgraded: Option<Secret<String>>,
}

enum Job {
    Verify {
        hash: Secret<String>,
        password: Secret<String>,
        reply: oneshot::Sender<Verdict>,
    },
    Hash {
        password: Secret<String>,
        reply: oneshot::Sender<Option<Secret<String>>>,
    },
}

/// The pool. Cloning shares it; its threads end when the last clone is gone.
#[derive(Clone)]
pub struct Hasher {
    jobs: std::sync::mpsc::SyncSender<Job>,
    waiting: Arc<AtomicUsize>,
    computed: Arc<AtomicU64>,
    /// Jobs that fit, waiting or running.
    room: usize,
    places: Places,
}

/// How many places each source has taken; sources without any are not listed.
type Places = Arc<Mutex<HashMap<String, usize>>>;

impl Hasher {
    /// Starts `workers` threads that share a queue of `queue` jobs.
    pub fn start(workers: usize, queue: usize) -> std::io::Result<Self> {
        let room = workers.max(1) + queue;
        let (jobs, queue) = std::sync::mpsc::sync_channel(queue);
        let queue = Arc::new(Mutex::new(queue));
        let waiting = Arc::new(AtomicUsize::new(0));
        let computed = Arc::new(AtomicU64::new(0));
        for worker in 0..workers.max(1) {
            let (queue, waiting, computed) = (Arc::clone(&queue), Arc::clone(&waiting), Arc::clone(&computed));
            background::spawn(format!("hash-{worker}"), move || work(&queue, &waiting, computed))?;
        }
        Ok(Self {
            jobs,
            waiting,
            computed,
            room,
            places: Places::default(),
        })
    }

    /// Whether `password` is the one behind the PHC string `hash`. A malformed or unknown hash never matches.
    pub async fn verify(&self, hash: Secret<String>, password: Secret<String>) -> Result<Verdict, Saturated> {
        let (reply, verdict) = oneshot::channel();
        self.submit(Job::Verify { hash, password, reply })?;
        verdict.await.map_err(|_| Saturated)
    }

    /// Hashes `password` with a fresh salt and today's parameters; a PHC string.
    pub async fn hash(&self, password: Secret<String>) -> Result<Secret<String>, Saturated> {
        let (reply, hash) = oneshot::channel();
        self.submit(Job::Hash { password, reply })?;
        hash.await.ok().flatten().ok_or(Saturated)
    }

    /// A place for a password from `source`, kept as long as the value lives. Asked for before an attempt is counted, so
    /// that nobody loses attempts to a queue that others filled. One source gets half of the queue at most: whoever
    /// guesses many names from one address leaves room for everybody else.
    pub fn admit(&self, source: &str) -> Result<Place, Saturated> {
        let mut taken = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = taken.get(source).copied().unwrap_or(0);
        if self.depth() >= self.room || mine >= self.room.div_ceil(2) {
            return Err(Saturated);
        }
        taken.insert(source.to_owned(), mine + 1);
        Ok(Place {
            source: source.to_owned(),
            places: Arc::clone(&self.places),
        })
    }

    /// Jobs that wait or run now.
    pub fn depth(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Hashes computed so far, for verifying and for storing.
    pub fn computed(&self) -> u64 {
        self.computed.load(Ordering::Relaxed)
    }

    fn submit(&self, job: Job) -> Result<(), Saturated> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.jobs.try_send(job).map_err(|_| {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            Saturated
        })
    }
}

/// A place in the queue; given back when dropped.
#[derive(Debug)]
pub struct Place {
    source: String,
    places: Places,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.source) {
            Some(mine) if *mine > 1 => *mine -= 1,
            Some(_) | None => {
                taken.remove(&self.source);
            }
        }
    }
}

/// Hashes on the calling thread; for the command line.
pub fn hash_now(password: &Secret<String>) -> Option<Secret<String>> {
    hash(password, &mut Arena::default())
}

/// The memory that a thread hashes in, kept from one hash to the next.
#[derive(Default)]
struct Arena {
    blocks: Vec<Block>,
    computed: Arc<AtomicU64>,
}

impl Arena {
    /// Memory for one hash.
    fn blocks(&mut self, count: usize) -> Option<&mut [Block]> {
        self.computed.fetch_add(1, Ordering::Relaxed);
        if self.blocks.len() < count {
            self.blocks.resize(count, Block::default());
        }
        self.blocks.get_mut(..count)
    }

    /// Gives everything back.
    fn release(&mut self) {
        self.blocks = Vec::new();
    }

    /// Gives back what an imported hash needed beyond today's parameters.
    fn shrink(&mut self) {
        let usual = MEMORY_KIB as usize;
        if self.blocks.len() > usual {
            self.blocks.truncate(usual);
            self.blocks.shrink_to_fit();
        }
    }
}

fn work(queue: &Mutex<Receiver<Job>>, waiting: &AtomicUsize, computed: Arc<AtomicU64>) {
    let mut arena = Arena {
        blocks: Vec::new(),
        computed,
    };
    loop {
        let job = queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .recv_timeout(ARENA_IDLE);
        let job = match job {
            Ok(job) => job,
            Err(RecvTimeoutError::Timeout) => {
                arena.release();
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        };
        match job {
            Job::Verify { hash, password, reply } if !reply.is_closed() => {
                let verdict = verify(&hash, &password, &mut arena);
                waiting.fetch_sub(1, Ordering::Relaxed);
                let _ = reply.send(verdict);
            }
            Job::Hash { password, reply } if !reply.is_closed() => {
                let hash = hash(&password, &mut arena);
                waiting.fetch_sub(1, Ordering::Relaxed);
                let _ = reply.send(hash);
            }
            Job::Verify { .. } | Job::Hash { .. } => {
                waiting.fetch_sub(1, Ordering::Relaxed);
            }
        }
        arena.shrink();
    }
}

fn verify(stored: &Secret<String>, password: &Secret<String>, arena: &mut Arena) -> Verdict {
    compare(stored.expose(), password, arena).unwrap_or_else(|| {
        // A hash that cannot be used takes as long as any other: its person must not stand out.
        let _ = compare(ABSENT_PERSON_HASH, password, arena);
        Verdict {
            matched: false,
            upgraded: None,
        }
    })
}

/// `None` when `stored` is malformed, or asks for too much.
fn compare(stored: &str, password: &Secret<String>, arena: &mut Arena) -> Option<Verdict> {
    let parsed = PasswordHash::new(stored).ok()?;
    let (salt, expected) = (parsed.salt?, parsed.hash?);
    let algorithm = Algorithm::try_from(parsed.algorithm.as_str()).ok()?;
    let version = match parsed.version {
        None => Version::V0x13,
        Some(version) => Version::try_from(version).ok()?,
    };
    let params = Params::try_from(&parsed).ok()?;
    if params.m_cost() > MAX_MEMORY_KIB || params.t_cost() > MAX_PASSES || params.p_cost() > MAX_LANES {
        return None;
    }
    let mut output = vec![0_u8; expected.len()];
    let argon2 = Argon2::new(algorithm, version, params.clone());
    fill(&argon2, password, salt.as_ref(), &mut output, arena)?;
    let matched = bool::from(output.ct_eq(expected.as_bytes()));
    let weaker = algorithm != Algorithm::Argon2id
        || params.m_cost() < MEMORY_KIB
        || (params.m_cost() == MEMORY_KIB && params.t_cost() < PASSES);
    Some(Verdict {
        matched,
        upgraded: if matched && weaker { hash(password, arena) } else { None },
    })
}

fn hash(password: &Secret<String>, arena: &mut Arena) -> Option<Secret<String>> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(OUTPUT_BYTES)).ok()?;
    let salt = Salt::generate();
    let mut output = [0_u8; OUTPUT_BYTES];
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
    fill(&argon2, password, salt.as_ref(), &mut output, arena)?;
    let phc = PasswordHash {
        algorithm: Ident::new("argon2id").ok()?,
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&params).ok()?,
        salt: Some(salt),
        hash: Some(Output::new(&output).ok()?),
    };
    Some(Secret::new(phc.to_string()))
}

fn fill(
    argon2: &Argon2<'_>,
    password: &Secret<String>,
    salt: &[u8],
    output: &mut [u8],
    arena: &mut Arena,
) -> Option<()> {
    let memory = arena.blocks(argon2.params().block_count())?;
    argon2
        .hash_password_into_with_memory(password.expose().as_bytes(), salt, output, memory)
        .ok()
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn secret(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    #[test]
    fn a_hash_matches_its_password_and_no_other() {
        let mut arena = Arena::default();
        let stored = hash(&secret("correct horse"), &mut arena).unwrap();
        assert!(
            stored.expose().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{}",
            stored.expose()
        );
        let verdict = verify(&stored, &secret("correct horse"), &mut arena);
        assert!(verdict.matched && verdict.upgraded.is_none());
        assert!(!verify(&stored, &secret("correct horsf"), &mut arena).matched);
    }

    #[test]
    fn a_weaker_hash_is_upgraded_on_a_match_only() {
        let argon2 = Argon2::new(
            Algorithm::Argon2id,
            Version::V0x13,
            Params::new(8, 1, 1, Some(32)).unwrap(),
        );
        let mut output = [0; 32];
        argon2.hash_password_into(b"old", b"saltsalt", &mut output).unwrap();
        let phc = format!(
            "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ${}",
            base64::Engine::encode(&base64::engine::general_purpose::STANDARD_NO_PAD, output)
        );
        let mut arena = Arena::default();
        let upgraded = verify(&secret(&phc), &secret("old"), &mut arena).upgraded.unwrap();
        assert!(verify(&upgraded, &secret("old"), &mut arena).matched);
        let wrong = verify(&secret(&phc), &secret("new"), &mut arena);
        assert!(!wrong.matched && wrong.upgraded.is_none());
    }

    #[test]
    fn malformed_and_excessive_hashes_never_match() {
        let mut arena = Arena::default();
        for stored in [
            "",
            "x",
            "$argon2id$",
            "$argon2id$v=19$m=99999999,t=2,p=1$c2FsdHNhbHQ$AAAA",
            "$scrypt$ln=1$c2FsdHNhbHQ$AAAA",
            ABSENT_PERSON_HASH,
        ] {
            assert!(!verify(&secret(stored), &secret(""), &mut arena).matched, "{stored}");
        }
    }

    #[test]
    fn an_unusable_hash_costs_as_much_as_a_real_one() {
        for stored in ["x", "$argon2id$v=19$m=99999999,t=2,p=1$c2FsdHNhbHQ$AAAA"] {
            let mut arena = Arena::default();
            verify(&secret(stored), &secret("x"), &mut arena);
            assert!(arena.blocks.len() >= 19 * 1024, "{stored}");
        }
    }

    #[test]
    fn the_absent_persons_hash_costs_as_much_as_a_real_one() {
        let parsed = PasswordHash::new(ABSENT_PERSON_HASH).unwrap();
        let params = Params::try_from(&parsed).unwrap();
        assert_eq!(
            (params.m_cost(), params.t_cost(), params.p_cost()),
            (MEMORY_KIB, PASSES, LANES)
        );
        assert_eq!(parsed.hash.unwrap().len(), OUTPUT_BYTES);
    }

    #[tokio::test]
    async fn beyond_the_queue_the_answer_is_saturated_at_once() {
        let hasher = Hasher::start(1, 1).unwrap();
        let attempts = (0..16).map(|_| hasher.hash(secret("x")));
        let answers = futures::future::join_all(attempts).await;
        assert!(answers.iter().any(Result::is_ok));
        assert!(answers.iter().any(|answer| matches!(answer, Err(Saturated))));
        assert_eq!(hasher.depth(), 0);
        assert!(hasher.admit("a").is_ok());
    }

    fn idle(room: usize) -> (Hasher, Receiver<Job>) {
        let (jobs, queue) = std::sync::mpsc::sync_channel(room);
        let hasher = Hasher {
            jobs,
            waiting: Arc::default(),
            computed: Arc::default(),
            room,
            places: Places::default(),
        };
        (hasher, queue)
    }

    #[test]
    fn a_full_queue_says_so_before_an_attempt_is_counted() {
        let (hasher, _queue) = idle(1);
        assert!(hasher.admit("a").is_ok());
        assert!(hasher.hash(secret("x")).now_or_never().is_none());
        assert_eq!(hasher.admit("a").unwrap_err(), Saturated);
    }

    #[test]
    fn one_source_cannot_take_the_whole_queue() {
        let (hasher, _queue) = idle(4);
        let places = [hasher.admit("a").unwrap(), hasher.admit("a").unwrap()];
        assert_eq!(hasher.admit("a").unwrap_err(), Saturated);
        assert!(hasher.admit("b").is_ok());
        drop(places);
        assert!(hasher.admit("a").is_ok());
        assert!(hasher.places.lock().unwrap().is_empty());
    }
}
