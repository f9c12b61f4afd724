//! Programs that run beside a test, and what they write, line by line.
//!
//! The server and every child of a test is followed here from its start, so that no output is lost before somebody asks for it.

use std::{
    process::ExitStatus,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    sync::watch,
};

use crate::DEADLINE;

/// What a program wrote so far.
#[derive(Clone, Default)]
pub struct Lines {
    lines: Arc<Mutex<Vec<String>>>,
    count: Arc<watch::Sender<usize>>,
}

impl Lines {
    /// Collects everything that comes from `output`.
    pub(crate) fn follow(&self, output: impl AsyncRead + Send + Unpin + 'static) {
        let followed = self.clone();
        tokio::spawn(async move {
            let mut lines = BufReader::new(output).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let mut kept = followed.lines.lock().unwrap_or_else(PoisonError::into_inner);
                kept.push(line);
                followed.count.send_replace(kept.len());
            }
        });
    }

    /// All lines so far.
    #[must_use]
    pub fn all(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until `look` finds what it wants in all lines so far. Without a deadline of its own.
    pub async fn until<T>(&self, mut look: impl FnMut(&[String]) -> Option<T>) -> T {
        let mut count = self.count.subscribe();
        loop {
            count.borrow_and_update();
            let found = look(&self.lines.lock().unwrap_or_else(PoisonError::into_inner));
            match found {
                Some(found) => return found,
                None => count.changed().await.expect("the sender lives as long as the lines"),
            }
        }
    }

    /// The first line that holds `part`, which is waited for at most [`DEADLINE`].
    ///
    /// # Panics
    /// When time runs out, with what was written.
    pub async fn with(&self, part: &str) -> String {
        let waiting = self.until(|lines| lines.iter().find(|line| line.contains(part)).cloned());
        match tokio::time::timeout(DEADLINE, waiting).await {
            Ok(line) => line,
            Err(_) => panic!("waited {DEADLINE:?} for {part:?} in\n{}", self.all().join("\n")),
        }
    }
}

/// A running program. It ends with this value.
pub struct Program {
    child: Child,
    /// Its standard output.
    pub output: Lines,
    /// Its standard error.
    pub errors: Lines,
}

impl Program {
    /// Starts it.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(mut command: Command) -> Self {
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("the program starts");
        let (output, errors) = (Lines::default(), Lines::default());
        output.follow(child.stdout.take().expect("a piped output"));
        errors.follow(child.stderr.take().expect("a piped output"));
        Self { child, output, errors }
    }

    /// Asks it to end, SIGTERM, and waits until it has.
    ///
    /// # Panics
    /// When it has not ended by [`DEADLINE`].
    pub async fn stop(&mut self) -> ExitStatus {
        let pid = self.child.id().and_then(|pid| rustix::process::Pid::from_raw(pid.cast_signed())).expect("it is running");
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("a child can be signalled");
        self.ended().await
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    /// When it has not ended by [`DEADLINE`].
    pub async fn ended(&mut self) -> ExitStatus {
        match tokio::time::timeout(DEADLINE, self.child.wait()).await {
            Ok(status) => status.expect("a child can be waited for"),
            Err(_) => panic!("it has not ended within {DEADLINE:?}; it said\n{}", self.errors.all().join("\n")),
        }
    }
}
