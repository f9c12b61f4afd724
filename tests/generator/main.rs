//! Writes identity histories to standard output, one event a line: `identity-histories [COUNT] [SEED]`.
//!
//! Without arguments it writes the 10,000 events that documentation and tests speak of, the same bytes every time.

use std::{
    io::{BufWriter, Write},
    process::ExitCode,
};

use gatepost_tests::histories::{COUNT, SEED, histories};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u64>());
    let (count, seed) = (arguments.next().unwrap_or(Ok(COUNT as u64)), arguments.next().unwrap_or(Ok(SEED)));
    let (Ok(count), Ok(seed)) = (count, seed) else {
        let _ = writeln!(std::io::stderr(), "usage: identity-histories [COUNT] [SEED]");
        return ExitCode::from(2);
    };
    let mut output = BufWriter::new(std::io::stdout().lock());
    let written =
        histories(seed, count as usize).iter().try_for_each(|line| writeln!(output, "{line}")).and_then(|()| output.flush());
    // A reader that has seen enough, such as `head`, is no failure.
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}
