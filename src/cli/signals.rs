//! The user's wish to end: Ctrl-C, or a platform's SIGTERM.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::error::Error;
use crate::exit::Exit;

/// The signals that ask a process to end.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// From now on these signals no longer end the process by themselves.
    pub fn listen() -> Result<Signals, Error> {
        let listen = |kind| {
            signal(kind)
                .map_err(|e| Error::new(Exit::Internal, format!("cannot listen for signals: {e}")))
        };
        Ok(Signals {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// Waits for the next one; its name.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }

    /// The first signal asks for an orderly end by `stop`; the second one ends at once.
    pub fn ask_once(&self, signal: &str, stop: &watch::Sender<bool>) -> Result<(), Error> {
        if stop.send_replace(true) {
            let text = format!("{signal} twice: ended at once, without waiting for the probers");
            return Err(Error::new(Exit::Aborted, text));
        }
        tracing::warn!("{signal}: stopping; once more to end at once");
        Ok(())
    }
}
