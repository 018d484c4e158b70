//! H.264's byte stream (ITU-T H.264, annex B), the container of an H.264 clip.

use crate::participant::rtp::h264::nal;

/// Why bytes are no clip as a byte stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnnexBError {
    /// No start code at the beginning.
    #[error("it does not begin with a start code")]
    Start,
    /// A unit without a byte.
    #[error("unit {0} is empty")]
    Empty(usize),
    /// A unit that such a clip doesn't have.
    #[error("unit {unit} is of type {kind}")]
    Kind {
        /// Its place, from 0.
        unit: usize,
        /// NAL unit type.
        kind: u8,
    },
}

/// A picture: one slice, and the parameter sets before it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Picture<'a> {
    /// Sequence and picture parameter sets.
    pub parameters: Vec<&'a [u8]>,
    /// The slice.
    pub slice: &'a [u8],
}

/// The pictures of a clip with one slice each. What is no part of a picture, like the encoder's
/// own remarks, is left out.
///
/// # Errors
/// See [`AnnexBError`]; nothing is repaired.
pub fn pictures(bytes: &[u8]) -> Result<Vec<Picture<'_>>, AnnexBError> {
    let mut pictures = Vec::new();
    let mut parameters = Vec::new();
    for (i, unit) in units(bytes)?.into_iter().enumerate() {
        let header = unit.first().ok_or(AnnexBError::Empty(i))?;
        match nal::kind(*header) {
            nal::SPS | nal::PPS => parameters.push(unit),
            nal::SLICE | nal::IDR => pictures.push(Picture {
                parameters: std::mem::take(&mut parameters),
                slice: unit,
            }),
            nal::SEI => {}
            kind => return Err(AnnexBError::Kind { unit: i, kind }),
        }
    }
    Ok(pictures)
}

fn units(bytes: &[u8]) -> Result<Vec<&[u8]>, AnnexBError> {
    let mut units = Vec::new();
    let mut rest = after_start_code(bytes).ok_or(AnnexBError::Start)?;
    while let Some(at) = rest.windows(3).position(|w| w == [0, 0, 1]) {
        let (unit, after) = rest.split_at(at);
        units.push(trimmed(unit));
        rest = after_start_code(after).unwrap_or_default();
    }
    units.push(trimmed(rest));
    Ok(units)
}

fn after_start_code(bytes: &[u8]) -> Option<&[u8]> {
    bytes
        .strip_prefix(&[0, 0, 1])
        .or_else(|| bytes.strip_prefix(&[0, 0, 0, 1]))
}

/// Zeros before the next start code are no part of a unit.
fn trimmed(mut unit: &[u8]) -> &[u8] {
    while let Some(shorter) = unit.strip_suffix(&[0]) {
        unit = shorter;
    }
    unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_one_slice_and_what_it_needs() {
        let bytes = [
            0, 0, 0, 1, 0x67, 9, 0, 0, 0, 1, 0x68, 8, 0, 0, 1, 0x06, 5, 0, 0, 1, 0x65, 7, 0, 0, 1,
            0x41, 6,
        ];
        let pictures = pictures(&bytes).unwrap();
        assert_eq!(pictures.len(), 2);
        assert_eq!(pictures[0].parameters, [&[0x67, 9][..], &[0x68, 8]]);
        assert_eq!(pictures[0].slice, [0x65, 7]);
        assert_eq!(
            (pictures[1].parameters.len(), pictures[1].slice),
            (0, &[0x41, 6][..])
        );
    }

    #[test]
    fn other_bytes_are_refused() {
        assert_eq!(pictures(b"").unwrap_err(), AnnexBError::Start);
        assert_eq!(pictures(&[0, 0, 1]).unwrap_err(), AnnexBError::Empty(0));
        let auxiliary = [0, 0, 1, 0x73];
        let error = AnnexBError::Kind { unit: 0, kind: 19 };
        assert_eq!(pictures(&auxiliary).unwrap_err(), error);
    }
}
