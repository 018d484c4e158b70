//! IVF, the container of a VP8 clip.
//!
//! Layout (little endian): a 32-byte header `DKIF`, version 0, header length, `VP80`, width,
//! height, rate and scale of the time base, frame count, unused; then per frame its length (u32),
//! its time (u64) and its bytes. Source: `ivfdec.c` of libvpx.

/// Why bytes are no clip in IVF.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IvfError {
    /// The header isn't one of IVF version 0 with VP8.
    #[error("no IVF header of version 0 with VP8")]
    Header,
    /// The bytes end inside a frame.
    #[error("frame {0} is cut off")]
    Truncated(usize),
    /// A frame's time isn't its index.
    #[error("frame {0} is not one time unit after the one before")]
    Time(usize),
    /// The header counts other frames than follow.
    #[error("the header counts {header} frames, {found} follow")]
    Count {
        /// As the header says.
        header: u32,
        /// As found.
        found: usize,
    },
}

/// A clip of constant frame rate.
#[derive(Debug)]
pub struct Ivf<'a> {
    /// Pixels.
    pub width: u16,
    /// Pixels.
    pub height: u16,
    /// Time units per second.
    pub fps: u32,
    /// Encoded frames.
    pub frames: Vec<&'a [u8]>,
}

/// Parses a whole clip.
///
/// # Errors
/// See [`IvfError`]; nothing is repaired.
pub fn parse(bytes: &[u8]) -> Result<Ivf<'_>, IvfError> {
    let (header, mut rest) = bytes.split_first_chunk::<32>().ok_or(IvfError::Header)?;
    let mut header = Reader(header);
    let (magic, version, length, codec) = (
        header.take::<4>(),
        header.take::<2>().map(u16::from_le_bytes),
        header.take::<2>().map(u16::from_le_bytes),
        header.take::<4>(),
    );
    if (magic, version, length, codec) != (Some(*b"DKIF"), Some(0), Some(32), Some(*b"VP80")) {
        return Err(IvfError::Header);
    }
    let mut u16 = || header.take::<2>().map(u16::from_le_bytes);
    let (width, height) = (
        u16().ok_or(IvfError::Header)?,
        u16().ok_or(IvfError::Header)?,
    );
    let mut u32 = || {
        header
            .take::<4>()
            .map(u32::from_le_bytes)
            .ok_or(IvfError::Header)
    };
    let (fps, scale, count) = (u32()?, u32()?, u32()?);
    if scale != 1 || fps == 0 {
        return Err(IvfError::Header);
    }
    let mut frames = Vec::new();
    while !rest.is_empty() {
        let index = frames.len();
        let (frame, time, after) = frame(rest).ok_or(IvfError::Truncated(index))?;
        if usize::try_from(time) != Ok(index) {
            return Err(IvfError::Time(index));
        }
        frames.push(frame);
        rest = after;
    }
    if usize::try_from(count) != Ok(frames.len()) {
        return Err(IvfError::Count {
            header: count,
            found: frames.len(),
        });
    }
    Ok(Ivf {
        width,
        height,
        fps,
        frames,
    })
}

fn frame(bytes: &[u8]) -> Option<(&[u8], u64, &[u8])> {
    let (length, bytes) = bytes.split_first_chunk::<4>()?;
    let (time, bytes) = bytes.split_first_chunk::<8>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (frame, rest) = bytes.split_at_checked(length)?;
    Some((frame, u64::from_le_bytes(*time), rest))
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip(frames: &[&[u8]]) -> Vec<u8> {
        let mut bytes = b"DKIF\0\0\x20\0VP80".to_vec();
        bytes.extend([64, 1, 180, 0]);
        for word in [20, 1, u32::try_from(frames.len()).unwrap(), 0] {
            bytes.extend(word.to_le_bytes());
        }
        for (time, frame) in frames.iter().enumerate() {
            bytes.extend(u32::try_from(frame.len()).unwrap().to_le_bytes());
            bytes.extend((time as u64).to_le_bytes());
            bytes.extend(*frame);
        }
        bytes
    }

    #[test]
    fn reads_what_was_written() {
        let bytes = clip(&[b"one", b"", b"three"]);
        let ivf = parse(&bytes).unwrap();
        assert_eq!((ivf.width, ivf.height, ivf.fps), (320, 180, 20));
        assert_eq!(ivf.frames, [&b"one"[..], b"", b"three"]);
    }

    #[test]
    fn refuses_what_is_cut_or_changed() {
        let whole = clip(&[b"one", b"two"]);
        assert_eq!(parse(&[]).unwrap_err(), IvfError::Header);
        assert_eq!(parse(&whole[..46]).unwrap_err(), IvfError::Truncated(0));
        assert_eq!(
            parse(&whole[..47]).unwrap_err(),
            IvfError::Count {
                header: 2,
                found: 1
            }
        );
        for (at, error) in [
            (0, IvfError::Header),
            (4, IvfError::Header),
            (8, IvfError::Header),
            (20, IvfError::Header),
            (36, IvfError::Time(0)),
        ] {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert_eq!(parse(&changed).unwrap_err(), error, "byte {at}");
        }
    }
}
