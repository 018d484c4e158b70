//! Which videos a layout shows, and at which size: what a subscriber asks the server for.

use std::sync::Arc;

use super::snapshot::TrackKind;
use super::spec::Subscribe;

/// A track that somebody publishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announced {
    /// LiveKit's track id.
    pub sid: Arc<str>,
    /// LiveKit's id of its publisher.
    pub participant_sid: Arc<str>,
    /// The identity of its publisher.
    pub publisher: Arc<str>,
    /// Audio or video.
    pub kind: TrackKind,
    /// Its publisher sends nothing for now.
    pub muted: bool,
}

/// The size that a video is wanted in; `None` for audio, and for the best there is.
pub type Size = Option<(u32, u32)>;

/// What to ask for, out of the tracks announced, oldest first.
///
/// All audio is taken. Of videos a layout shows so many as it has places for
/// ([`Layout::videos`](crate::job::Layout::videos)), in the order of their announcement: the
/// first has the first place, and further ones are not subscribed at all.
pub fn wanted(subscribe: Subscribe, announced: &[Announced]) -> Vec<(&Announced, Size)> {
    let mut place = 0;
    announced
        .iter()
        .filter_map(|track| match (subscribe, track.kind) {
            (Subscribe::Nothing, _) => None,
            (Subscribe::Everything, _) | (Subscribe::Layout(_), TrackKind::Audio) => {
                Some((track, None))
            }
            (Subscribe::Layout(layout), TrackKind::Video) => {
                let size = layout.size(place)?;
                place += 1;
                Some((track, Some(size)))
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Layout;

    fn announced(videos: usize, audios: usize) -> Vec<Announced> {
        let track = |i: usize, kind| Announced {
            sid: format!("TR_{kind:?}{i}").into(),
            participant_sid: format!("PA_{i}").into(),
            publisher: format!("p{i}").into(),
            kind,
            muted: false,
        };
        (0..videos)
            .map(|i| track(i, TrackKind::Video))
            .chain((0..audios).map(|i| track(i, TrackKind::Audio)))
            .collect()
    }

    #[test]
    fn layouts_are_capped_and_audio_is_not() {
        for (layout, videos, first, last) in [
            (Layout::Speaker, 6, (1280, 720), (356, 200)),
            (Layout::Grid3x3, 9, (400, 225), (400, 225)),
            (Layout::Grid4x4, 16, (320, 180), (320, 180)),
            (Layout::Grid5x5, 25, (256, 144), (256, 144)),
        ] {
            let tracks = announced(40, 30);
            let wanted = wanted(Subscribe::Layout(layout), &tracks);
            let sizes: Vec<_> = wanted.iter().filter_map(|(_, size)| *size).collect();
            assert_eq!(sizes.len(), videos);
            assert_eq!((sizes[0], sizes[videos - 1]), (first, last));
            assert_eq!(wanted.len(), videos + 30);
        }
    }

    #[test]
    fn everything_is_everything_at_its_best() {
        let tracks = announced(40, 2);
        assert_eq!(wanted(Subscribe::Everything, &tracks).len(), 42);
        assert!(
            wanted(Subscribe::Everything, &tracks)
                .iter()
                .all(|(_, size)| size.is_none())
        );
        assert!(wanted(Subscribe::Nothing, &tracks).is_empty());
    }
}
