//! The media threads' own health, counted where it happens.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use crate::participant::EngineHealth;

/// Counters that all threads share.
#[derive(Debug, Default)]
pub struct Health {
    sockets: AtomicI64,
    ticks: AtomicU64,
    late_ticks: AtomicU64,
    tick_lag_max_us: AtomicU64,
    pacing_lag_max_us: AtomicU64,
    own_buffer_drops: AtomicU64,
    socket_calls: AtomicU64,
}

impl Health {
    /// So many sockets more, or fewer.
    pub fn count_sockets(&self, change: i64) {
        self.sockets.fetch_add(change, Ordering::Relaxed);
    }

    /// A tick came so late.
    pub fn count_tick(&self, lag: Duration, tick: Duration) {
        self.ticks.fetch_add(1, Ordering::Relaxed);
        self.tick_lag_max_us.fetch_max(us(lag), Ordering::Relaxed);
        if lag > tick {
            self.late_ticks.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A packet went out so late.
    pub fn count_pacing_lag(&self, lag: Duration) {
        self.pacing_lag_max_us.fetch_max(us(lag), Ordering::Relaxed);
    }

    /// The kernel dropped so many datagrams more.
    pub fn count_drops(&self, drops: u64) {
        if drops > 0 {
            self.own_buffer_drops.fetch_add(drops, Ordering::Relaxed);
        }
    }

    /// So many system calls on sockets more.
    pub fn count_calls(&self, calls: u64) {
        self.socket_calls.fetch_add(calls, Ordering::Relaxed);
    }

    /// What was counted, and the worst since the last call.
    pub fn read(&self) -> EngineHealth {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let take = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
        EngineHealth {
            sockets: u64::try_from(self.sockets.load(Ordering::Relaxed)).unwrap_or(0),
            ticks: get(&self.ticks),
            late_ticks: get(&self.late_ticks),
            tick_lag_max_us: take(&self.tick_lag_max_us),
            pacing_lag_max_us: take(&self.pacing_lag_max_us),
            own_buffer_drops: get(&self.own_buffer_drops),
            socket_calls: get(&self.socket_calls),
        }
    }
}

fn us(lag: Duration) -> u64 {
    u64::try_from(lag.as_micros()).unwrap_or(u64::MAX)
}
