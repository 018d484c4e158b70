//! Which video frames are complete, in order, and decodable from their packets alone.

use std::collections::VecDeque;

/// Frames that wait for a retransmission at once: eight seconds of video.
const MAX_WAITING: usize = 256;

/// Follows one video stream.
#[derive(Debug)]
pub struct Frames {
    /// Ends of frames that are not complete, or not in order yet; ascending.
    waiting: VecDeque<u64>,
    /// A packet was given up here: nothing after it decodes until a keyframe.
    broken_at: Option<u64>,
    /// Where the latest keyframe starts.
    keyframe_at: Option<u64>,
    /// Whether frames depend on earlier ones in a way that this module can follow.
    needs_keyframes: bool,
}

impl Frames {
    /// A stream that begins at `first`. One whose codec isn't looked into has frames that stand
    /// alone.
    pub fn new(first: u64, needs_keyframes: bool) -> Self {
        Self {
            waiting: VecDeque::new(),
            broken_at: needs_keyframes.then(|| first.saturating_sub(1)),
            keyframe_at: None,
            needs_keyframes,
        }
    }

    /// Whether the stream waits for a keyframe.
    pub const fn is_broken(&self) -> bool {
        self.broken_at.is_some()
    }

    /// A packet came. `first_gap` is the lowest index still missing. Returns the number of
    /// frames that this completed.
    pub fn packet(
        &mut self,
        index: u64,
        ends_frame: bool,
        starts_keyframe: bool,
        first_gap: Option<u64>,
    ) -> u64 {
        if starts_keyframe {
            self.keyframe_at = self.keyframe_at.max(Some(index));
            self.mend();
        }
        if ends_frame {
            if self.waiting.back().is_none_or(|last| *last < index) {
                // The common case: in order, nothing missing.
                if self.waiting.is_empty() && first_gap.is_none() && self.broken_at.is_none() {
                    return 1;
                }
                self.waiting.push_back(index);
            } else if let Err(at) = self.waiting.binary_search(&index) {
                self.waiting.insert(at, index);
            }
            if self.waiting.len() > MAX_WAITING {
                self.waiting.pop_front();
            }
        }
        self.complete(first_gap)
    }

    /// The packet at `index` will not come. Returns the number of frames that this completed:
    /// those that stand alone.
    pub fn give_up(&mut self, index: u64, first_gap: Option<u64>) -> u64 {
        if self.needs_keyframes {
            self.broken_at = self.broken_at.max(Some(index));
            self.mend();
        } else if let Some(at) = self.waiting.iter().position(|end| *end >= index) {
            // The frame with the hole.
            self.waiting.remove(at);
        }
        self.complete(first_gap)
    }

    /// A keyframe behind the break starts anew.
    fn mend(&mut self) {
        if let (Some(broken), Some(keyframe)) = (self.broken_at, self.keyframe_at)
            && keyframe > broken
        {
            self.broken_at = None;
            self.waiting.retain(|end| *end >= keyframe);
        }
    }

    fn complete(&mut self, first_gap: Option<u64>) -> u64 {
        if self.broken_at.is_some() {
            return 0;
        }
        let limit = first_gap.unwrap_or(u64::MAX);
        let mut complete = 0;
        while self.waiting.front().is_some_and(|end| *end < limit) {
            self.waiting.pop_front();
            complete += 1;
        }
        complete
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_complete_in_order_once_a_keyframe_started() {
        let mut frames = Frames::new(10, true);
        assert_eq!(
            frames.packet(10, true, false, None),
            0,
            "a delta frame first"
        );
        assert_eq!(frames.packet(11, false, true, None), 0);
        assert_eq!(frames.packet(12, true, false, None), 1);
        assert_eq!(frames.packet(13, true, false, None), 1);
    }

    #[test]
    fn a_gap_holds_later_frames_until_it_is_filled() {
        let mut frames = Frames::new(1, true);
        assert_eq!(frames.packet(1, true, true, None), 1);
        assert_eq!(frames.packet(3, true, false, Some(2)), 0);
        assert_eq!(frames.packet(4, true, false, Some(2)), 0);
        assert_eq!(frames.packet(2, true, false, None), 3);
    }

    #[test]
    fn a_loss_breaks_the_stream_until_the_next_keyframe() {
        let mut frames = Frames::new(1, true);
        frames.packet(1, true, true, None);
        assert_eq!(frames.packet(3, true, false, Some(2)), 0);
        assert_eq!(frames.give_up(2, None), 0);
        assert!(frames.is_broken());
        assert_eq!(frames.packet(4, true, false, None), 0);
        assert_eq!(frames.packet(5, true, true, None), 1);
        assert!(!frames.is_broken());
    }

    #[test]
    fn a_keyframe_that_came_before_the_loss_was_certain_mends_it() {
        let mut frames = Frames::new(1, true);
        frames.packet(1, true, true, None);
        assert_eq!(frames.packet(3, true, false, Some(2)), 0);
        assert_eq!(frames.packet(4, true, true, Some(2)), 0);
        assert_eq!(frames.give_up(2, None), 1);
        assert!(!frames.is_broken());
    }

    #[test]
    fn frames_that_stand_alone_go_on_after_a_loss_without_the_damaged_one() {
        let mut frames = Frames::new(1, false);
        assert_eq!(frames.packet(1, true, true, None), 1);
        assert_eq!(frames.packet(3, true, true, Some(2)), 0);
        assert_eq!(frames.packet(4, true, true, Some(2)), 0);
        assert_eq!(frames.give_up(2, None), 1);
    }

    #[test]
    fn a_stream_that_stays_broken_holds_a_bounded_number_of_frames() {
        let mut frames = Frames::new(1, true);
        for index in 1..10_000 {
            frames.packet(index, true, false, None);
        }
        assert!(frames.waiting.len() <= MAX_WAITING);
    }
}
