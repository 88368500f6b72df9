use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;

use super::*;

/// Sends the same request, and wants the body `ok`.
struct Plain;

impl Source for Plain {
    fn write(&mut self, request: &mut Vec<u8>) {
        request.extend_from_slice(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    }

    fn read(&mut self, answer: &Answer<'_>) -> Result<Progress> {
        answer.expect(200)?;
        ensure!(answer.body == b"ok", "another body");
        Ok(Progress::Complete)
    }
}

/// A server that answers each request line by line with what `answer` makes of its number.
fn server(mut answer: impl FnMut(u64) -> String + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let mut number = 0;
        while let Some(Ok(line)) = lines.next() {
            if line.is_empty() {
                number += 1;
                if (&stream).write_all(answer(number).as_bytes()).is_err() {
                    return;
                }
            }
        }
    });
    address
}

fn run(address: SocketAddr, pace: Pace) -> Result<Outcome> {
    let load = Load {
        address,
        pace,
        warm_up: Duration::from_millis(20),
        measure: Duration::from_millis(200),
        meter: &|| Ok(Duration::ZERO),
    };
    let mut sources: Sources = vec![Box::new(Plain)];
    drive(&load, &mut sources)
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[test]
fn a_closed_loop_counts_what_was_answered() {
    let outcome = run(server(|_| OK.to_owned()), Pace::Closed).unwrap();
    assert!(outcome.units > 0 && outcome.units == outcome.latency.len());
}

#[test]
fn a_stall_is_felt_by_every_unit_that_was_due_meanwhile() {
    // Answers at once, but for one that takes 100 ms.
    let address = server(|number| {
        if number == 50 {
            std::thread::sleep(Duration::from_millis(100));
        }
        OK.to_owned()
    });
    let outcome = run(address, Pace::Open { rate: 1000.0 }).unwrap();
    let late = outcome.latency.len() - outcome.latency.count_between(0, 20_000_000);
    assert!(late >= 40, "{late} of {} felt the stall", outcome.units);
}

#[test]
fn an_error_is_never_a_count() {
    let bad = |number| {
        if number == 5 {
            "HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nbusy".to_owned()
        } else {
            OK.to_owned()
        }
    };
    let error = run(server(bad), Pace::Closed).unwrap_err();
    assert!(
        error.to_string().contains("503") && error.to_string().contains("busy"),
        "{error}"
    );
    let wrong = |_| "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno".to_owned();
    assert!(run(server(wrong), Pace::Closed).is_err());
}
