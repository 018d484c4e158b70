//! How many participants a function of a given size takes: pure.

/// What a function has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// `MemorySize`, in MiB. It decides the share of processors as well.
    pub memory_mib: u32,
    /// File descriptors that the process may have open.
    pub descriptors: u32,
}

/// Memory that comes with one processor ("at 1,769 MB, a function has the equivalent of one
/// vCPU", AWS Lambda's developer guide, *Configure Lambda function memory*).
const MIB_PER_CPU: u32 = 1_769;
/// File descriptors of a Lambda function (AWS Lambda's developer guide, *Lambda quotas*).
pub(super) const DESCRIPTORS: u32 = 1_024;
/// Descriptors that are not participants': the bucket's and the runtime's connections, epoll,
/// the standard streams.
const DESCRIPTORS_OWN: u32 = 64;
/// Descriptors that two participants take: a UDP socket and a signalling connection each, and an
/// eighth more for those that leave while others join.
const DESCRIPTORS_PER_TWO: u32 = 5;
/// Memory of a prober without participants, in MiB.
const MIB_OWN: u32 = 64;
/// Participants per MiB: one takes 370 kB at most (`muster bench density` finds less), and some more
/// while it joins.
const PER_MIB: u32 = 2;
/// Participants that one processor takes, at 3 ms per participant and second with a tenth to
/// spare: 400 packets a second at 4.6 µs each (`muster bench density` finds less), and half as much again for
/// a slower processor.
const PER_CPU: u32 = 300;

impl Size {
    /// The most participants of this function.
    pub fn participants_max(&self) -> u32 {
        let by_descriptors =
            self.descriptors.saturating_sub(DESCRIPTORS_OWN) / DESCRIPTORS_PER_TWO * 2;
        // A tenth stays free: the system counts page tables and socket buffers as well.
        let free = (self.memory_mib - self.memory_mib / 10).saturating_sub(MIB_OWN);
        let by_memory = free.saturating_mul(PER_MIB);
        let by_cpus = u64::from(self.memory_mib) * u64::from(PER_CPU) / u64::from(MIB_PER_CPU);
        by_descriptors
            .min(by_memory)
            .min(u32::try_from(by_cpus).unwrap_or(u32::MAX))
    }

    /// How many media threads it keeps busy: one for each whole processor.
    pub fn media_threads(&self) -> usize {
        usize::try_from(self.memory_mib / MIB_PER_CPU)
            .unwrap_or(1)
            .max(1)
    }

    /// A function with so much memory, as Lambda makes it.
    pub const fn of(memory_mib: u32) -> Size {
        Size {
            memory_mib,
            descriptors: DESCRIPTORS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scarcest_thing_decides() {
        // The table of functions/README.md.
        for (memory_mib, participants, threads) in [
            (128, 21, 1),
            (256, 43, 1),
            (512, 86, 1),
            (1_024, 173, 1),
            (1_769, 300, 1),
            (2_048, 347, 1),
            (3_538, 384, 2),
            (10_240, 384, 5),
        ] {
            let size = Size::of(memory_mib);
            let found = (size.participants_max(), size.media_threads());
            assert_eq!(found, (participants, threads), "{memory_mib} MiB");
        }
        for (memory_mib, descriptors, participants) in [
            (10_240, 64, 0),
            (10_240, 100_000, 1_736),
            (64, 1_024, 0),
            (0, 0, 0),
        ] {
            let size = Size {
                memory_mib,
                descriptors,
            };
            assert_eq!(size.participants_max(), participants, "{size:?}");
        }
    }
}
