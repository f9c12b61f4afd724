//! Tasks: the only place that spawns.
//!
//! The server makes one [`Supervisor`] and a [`Supervisor::group`] for each part that stops at its own point of the drain. Every task has
//! a name, and says what its end means. A panic never passes unseen: it is caught at the task's edge, logged with the task's name and
//! counted. Spawning takes one short lock and a few counters, so each HTTP attempt may be a task. No task may outlive [`Supervisor::drain`].

use std::any::Any;
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long aborted tasks get to drop what they hold. One that blocks its thread cannot be ended: it is reported, not awaited.
const DROP_TIME: Duration = Duration::from_secs(1);

/// What the end of a task means for the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnEnd {
    /// A loop that the server cannot do without: when it ends or panics before its group was told to stop, the process stops.
    Stop,
    /// One piece of work, such as an attempt or a connection: it may end at any time, and its panic is logged and counted.
    Ignore,
}

/// Spawns tasks, sees them end, and ends them. Clones share one group of tasks.
#[derive(Clone, Debug)]
pub struct Supervisor {
    process: Arc<Process>,
    group: Arc<Group>,
}

/// What all groups share.
#[derive(Debug)]
struct Process {
    /// The stop token of the first group.
    stop: CancellationToken,
    panics: AtomicU64,
    failure: OnceLock<Failure>,
}

#[derive(Debug)]
struct Group {
    stop: CancellationToken,
    abort: CancellationToken,
    tracker: TaskTracker,
    live: Mutex<BTreeMap<&'static str, Arc<AtomicUsize>>>,
}

/// Why the process has to stop: a task with [`OnEnd::Stop`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// Name of the task.
    pub task: &'static str,
    /// It panicked; else it returned.
    pub panicked: bool,
}

/// How a drain went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct Drained {
    /// Tasks that had not ended by the deadline and were dropped, with their number.
    pub aborted: Vec<(&'static str, usize)>,
    /// Those among them that were still there a second later: they block a thread.
    pub stuck: Vec<(&'static str, usize)>,
}

impl Default for Supervisor {
    fn default() -> Self {
        Self::new()
    }
}

impl Supervisor {
    /// A supervisor without tasks. Its stop token is the process's: it also fires when a task that may not end did.
    pub fn new() -> Self {
        let group = Group::new();
        let process = Process { stop: group.stop.clone(), panics: AtomicU64::new(0), failure: OnceLock::new() };
        Self { process: Arc::new(process), group: Arc::new(group) }
    }

    /// A group with a stop and a drain of its own, so that the server can end its parts in order: a committer must outlive the loops
    /// whose outcomes it writes. Panics and failures of all groups are seen together.
    #[must_use]
    pub fn group(&self) -> Self {
        Self { process: Arc::clone(&self.process), group: Arc::new(Group::new()) }
    }

    /// Runs a future as a task. `name` is one of few fixed names, for logs and for the report of a drain.
    ///
    /// A future whose task is ended through the handle, or by a drain, is dropped at its next await.
    pub fn spawn<F>(&self, name: &'static str, on_end: OnEnd, future: F) -> AbortHandle
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let live = Live::new(self.group.counter(name));
        let (process, group) = (Arc::clone(&self.process), Arc::clone(&self.group));
        // In a box of its own: the future of an attempt is several KiB, and every layer around it, the runtime's included, would move it.
        let mut guarded = Box::pin(AssertUnwindSafe(future).catch_unwind());
        let task = async move {
            let _live = live;
            let caught = tokio::select! {
                biased;
                ended = &mut guarded => ended,
                () = group.abort.cancelled() => return,
            };
            // What it held is given back before anybody hears that it ended.
            drop(guarded);
            let panicked = caught.is_err();
            if let Err(panic) = caught {
                process.note_panic(name, &*panic);
            }
            if on_end == OnEnd::Stop && !group.stop.is_cancelled() {
                tracing::error!(task = name, panicked, "a task ended that the server cannot do without: stopping");
                let _ = process.failure.set(Failure { task: name, panicked }); // The first failure is the cause.
                process.stop.cancel();
            }
        };
        self.group.tracker.spawn(task).abort_handle()
    }

    /// Fires when this group is to stop. Loops select on it; work in progress may finish.
    pub fn stop_token(&self) -> CancellationToken {
        self.group.stop.clone()
    }

    /// Tells the tasks of this group to stop, and returns at once.
    pub fn stop(&self) {
        self.group.stop.cancel();
    }

    /// Ends this group: fires its stop token, waits up to `deadline` (real time) for its tasks, drops the rest, and reports them.
    ///
    /// Tasks that are spawned meanwhile are awaited and dropped alike.
    pub async fn drain(&self, deadline: Duration) -> Drained {
        let group = &self.group;
        group.stop.cancel();
        group.tracker.close();
        if tokio::time::timeout(deadline, group.tracker.wait()).await.is_ok() {
            return Drained::default();
        }
        let aborted = self.live();
        group.abort.cancel();
        let dropped = tokio::time::timeout(DROP_TIME, group.tracker.wait()).await.is_ok();
        let stuck = if dropped { Vec::new() } else { self.live() };
        tracing::warn!(?aborted, ?stuck, "tasks did not end in time");
        Drained { aborted, stuck }
    }

    /// The tasks of this group that have not ended: names and numbers.
    pub fn live(&self) -> Vec<(&'static str, usize)> {
        let live = self.group.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.iter().map(|(name, count)| (*name, count.load(Ordering::Relaxed))).filter(|(_, count)| *count > 0).collect()
    }

    /// Panics caught since the start, in all groups.
    pub fn panics(&self) -> u64 {
        self.process.panics.load(Ordering::Relaxed)
    }

    /// Logs and counts a panic that somebody caught inside a task, to answer a caller.
    pub fn note_panic(&self, name: &'static str, panic: &(dyn Any + Send)) {
        self.process.note_panic(name, panic);
    }

    /// Why the process has to stop, once a task with [`OnEnd::Stop`] ended.
    pub fn failure(&self) -> Option<Failure> {
        self.process.failure.get().copied()
    }
}

impl Process {
    fn note_panic(&self, name: &'static str, panic: &(dyn Any + Send)) {
        self.panics.fetch_add(1, Ordering::Relaxed);
        tracing::error!(task = name, panic = panic_text(panic), "a task panicked");
    }
}

impl Group {
    fn new() -> Self {
        Self {
            stop: CancellationToken::new(),
            abort: CancellationToken::new(),
            tracker: TaskTracker::new(),
            live: Mutex::default(),
        }
    }

    fn counter(&self, name: &'static str) -> Arc<AtomicUsize> {
        // Nothing under the lock can panic.
        Arc::clone(self.live.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default())
    }
}

/// Counts a task for as long as its future exists, however it ends.
struct Live(Arc<AtomicUsize>);

impl Live {
    fn new(count: Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    const SOON: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn a_panic_is_counted_and_ends_nothing_else() {
        let supervisor = Supervisor::new();
        supervisor.spawn("attempt", OnEnd::Ignore, async { panic!("seen") });
        let (reply, answer) = oneshot::channel();
        supervisor.spawn("attempt", OnEnd::Ignore, async {
            let _ = reply.send(7);
        });
        assert_eq!(answer.await, Ok(7));
        assert_eq!(supervisor.drain(LONG).await, Drained::default());
        assert_eq!((supervisor.panics(), supervisor.failure()), (1, None));
    }

    #[tokio::test]
    async fn a_loop_that_ends_by_itself_stops_the_process() {
        for (panics, group) in [(false, false), (true, true)] {
            let supervisor = Supervisor::new();
            let owner = if group { supervisor.group() } else { supervisor.clone() };
            owner.spawn("committer", OnEnd::Stop, async move { assert!(!panics, "broken") });
            let stopped = tokio::time::timeout(LONG, supervisor.stop_token().cancelled_owned()).await;
            assert!(stopped.is_ok(), "the process is told to stop");
            assert_eq!(supervisor.failure(), Some(Failure { task: "committer", panicked: panics }));
            assert_eq!(owner.stop_token().is_cancelled(), !group, "a group is stopped by its drain alone");
        }
    }

    #[tokio::test]
    async fn a_loop_that_ends_when_told_is_no_failure() {
        let supervisor = Supervisor::new();
        let stop = supervisor.stop_token();
        supervisor.spawn("feed", OnEnd::Stop, async move { stop.cancelled().await });
        assert_eq!(supervisor.live(), [("feed", 1)]);
        assert_eq!(supervisor.drain(LONG).await, Drained::default());
        assert_eq!((supervisor.live(), supervisor.failure()), (vec![], None));
    }

    #[tokio::test]
    async fn a_drain_drops_what_does_not_end_and_names_it() {
        let supervisor = Supervisor::new();
        for _ in 0..3 {
            supervisor.spawn("hanging", OnEnd::Stop, std::future::pending());
        }
        let (held, dropped) = oneshot::channel::<()>();
        supervisor.spawn("holder", OnEnd::Ignore, async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        let drained = supervisor.drain(SOON).await;
        assert_eq!(drained, Drained { aborted: vec![("hanging", 3), ("holder", 1)], stuck: vec![] });
        assert!(dropped.await.is_err(), "what a task holds is dropped");
        assert_eq!(supervisor.failure(), None);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_task_that_blocks_its_thread_is_reported_and_not_awaited() {
        let supervisor = Supervisor::new();
        let (release, blocked) = std::sync::mpsc::channel::<()>();
        supervisor.spawn("blocker", OnEnd::Ignore, async move {
            let _ = blocked.recv();
        });
        let drained = supervisor.drain(SOON).await;
        assert_eq!(drained.stuck, [("blocker", 1)]);
        drop(release);
    }

    #[tokio::test]
    async fn groups_drain_one_after_the_other() {
        let supervisor = Supervisor::new();
        let (api, store) = (supervisor.group(), supervisor.group());
        let (outcome, mut outcomes) = tokio::sync::mpsc::channel::<u8>(1);
        let stop = api.stop_token();
        api.spawn("api", OnEnd::Stop, async move {
            stop.cancelled().await;
            let _ = outcome.send(1).await;
        });
        let (written, seen) = oneshot::channel();
        store.spawn("committer", OnEnd::Stop, async move {
            let _ = written.send(outcomes.recv().await);
        });
        assert_eq!(api.drain(LONG).await, Drained::default());
        assert_eq!(seen.await, Ok(Some(1)), "the committer outlives the loops that feed it");
    }
}
