//! The one place where an error gets its exit code.

use std::fmt;

use crate::aws::AwsError;
use crate::cli::CloudRefusal;
use crate::exit::Exit;
use crate::function::EventError;
use crate::job::JobError;
use crate::local::LivekitServerError;
use crate::prober::SelfTestError;
use crate::prober::descriptors::DescriptorError;
use crate::rendezvous::RendezvousError;
use crate::rooms::{KeysError, RoomError};
use crate::store::SettingsError;
use crate::store::StoreError;
use crate::ticket::TicketError;

/// Why a command ended without a result: what to tell the user, and how to exit.
#[derive(Debug)]
pub struct Error {
    exit: Exit,
    text: String,
}

impl Error {
    /// An error of a kind that no module has a type for.
    pub fn new(exit: Exit, text: impl Into<String>) -> Error {
        Error {
            exit,
            text: text.into(),
        }
    }

    /// How to exit.
    pub fn exit(&self) -> Exit {
        self.exit
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}

/// `impl From<$error> for Error`, with the exit code that `$exit` gives.
macro_rules! exits {
    ($($error:ty => $exit:expr;)*) => {
        $(impl From<$error> for Error {
            fn from(error: $error) -> Error {
                let exit: fn(&$error) -> Exit = $exit;
                Error::new(exit(&error), error.to_string())
            }
        })*
    };
}

exits! {
    AwsError => |e| match e {
        AwsError::Settings(_)
        | AwsError::Credentials(_)
        | AwsError::Name { .. }
        | AwsError::Request { .. } => Exit::BadConfiguration,
        AwsError::Unreachable { .. } | AwsError::Refused { .. } => Exit::Unreachable,
    };
    CloudRefusal => |_| Exit::BadConfiguration;
    DescriptorError => |_| Exit::BadConfiguration;
    EventError => |_| Exit::BadConfiguration;
    JobError => |_| Exit::BadConfiguration;
    KeysError => |_| Exit::BadConfiguration;
    SettingsError => |_| Exit::BadConfiguration;
    SelfTestError => |_| Exit::Unreachable;
    StoreError => store;
    RendezvousError => |e| match e {
        RendezvousError::Store(e) => store(e),
        RendezvousError::NoSuchRun { .. }
        | RendezvousError::NoRuns { .. }
        | RendezvousError::NotAccepting { .. }
        | RendezvousError::NotInFleet { .. }
        | RendezvousError::NeedsTicket { .. }
        | RendezvousError::JobChanged { .. }
        | RendezvousError::FleetFull { .. }
        | RendezvousError::TooNew { .. }
        | RendezvousError::NeedsNewer { .. } => Exit::BadConfiguration,
        RendezvousError::NoOpenRun { .. }
        | RendezvousError::NeverStarted { .. }
        | RendezvousError::StartedWithout { .. }
        | RendezvousError::Declined { .. }
        | RendezvousError::NobodyCame { .. } => Exit::TimedOut,
        RendezvousError::Cancelled { .. }
            | RendezvousError::Aborted { .. }
            | RendezvousError::Interrupted { .. } => Exit::Aborted,
        RendezvousError::SlotTaken { .. } => Exit::SlotTaken,
        RendezvousError::SelfTest { .. } | RendezvousError::ReportLost { .. } => Exit::Unreachable,
        RendezvousError::NobodyReady { .. }
        | RendezvousError::Malformed { .. }
        | RendezvousError::StillRunning { .. }
        | RendezvousError::NotStarted { .. }
        | RendezvousError::NoReport { .. } => Exit::Incomplete,
        RendezvousError::Internal(_) => Exit::Internal,
    };
    TicketError => |e| match e {
        TicketError::Unread { .. } => Exit::Unreachable,
        TicketError::Store(e) => store(e),
        _ => Exit::BadConfiguration,
    };
    RoomError => |e| match e {
        RoomError::Exists { .. } | RoomError::Absent { .. } => Exit::BadConfiguration,
        RoomError::Unreachable { .. }
        | RoomError::Strange { .. }
        | RoomError::Refused { .. }
        | RoomError::Failed { .. } => Exit::Unreachable,
    };
    LivekitServerError => |e| match e {
        LivekitServerError::NotExecutable(_) | LivekitServerError::Missing(_) => {
            Exit::BadConfiguration
        }
        LivekitServerError::Start { .. } | LivekitServerError::NotReady { .. } => {
            Exit::Unreachable
        }
    };
}

fn store(error: &StoreError) -> Exit {
    match error {
        StoreError::Exists { .. } => Exit::Internal,
        StoreError::NoCredentials { .. } => Exit::BadConfiguration,
        _ => Exit::Unreachable,
    }
}
